"""Where the data sets of ``lm_finetuning`` were found until 0.2."""
