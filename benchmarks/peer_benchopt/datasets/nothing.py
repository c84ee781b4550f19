"""No data."""

from benchopt import BaseDataset


class Dataset(BaseDataset):
    """One number."""

    name = "nothing"

    def get_data(self):
        """Return the number."""
        return {"variant": 0}
