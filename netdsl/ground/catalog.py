"""The data sets that have names: what each holds, whose it is, and what its files are called, weigh and hash to.

The one table of them: the names that a train block takes, where files are looked for and how they are read, what is
downloaded and checked, and what tables and messages tell. SHA-256 of what mirrors serve: torchvision's and
TensorFlow Datasets' sources; of the members of archives: torchvision for Ruby; of Fashion-MNIST's files unpacked:
computed from the published ones. Nothing that has no SHA-256 is downloaded, so that a mirror need not be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Reader = Literal["package", "computed", "idx", "cifar", "text"]
"""How samples come: with netdsl, by a formula, or from files of a format."""


@dataclass(frozen=True)
class Member:
    """A file as it is read: its name, its size in bytes once unpacked, and the SHA-256 of these bytes; "" where
    nobody has published it."""

    name: str
    size: int
    sha256: str = ""


@dataclass(frozen=True)
class Download:
    """What a mirror serves: its name behind the mirror's address, its size in bytes, its SHA-256 and what it unpacks
    to, the one file of a `.gz` or those in `folder` of a `.tar.gz`."""

    name: str
    size: int
    sha256: str
    members: tuple[Member, ...]
    folder: str = ""

    @property
    def is_archive(self) -> bool:
        return self.name.endswith(".tar.gz")


@dataclass(frozen=True)
class NamedData:
    """A data set of a name.

    train, test: how many samples, of a text how many characters. shape: of one, () of characters. mean, std: of the
    training samples, of bytes as 0 to 1. source: whose it is, and under which licence. mirrors: addresses that the
    names of downloads are put behind, in the order they are tried. needs: groups of files, of each of which there must
    be one to read it at all. folders: where they lie below NETDSL_DATA_DIR and, but for "", below the folders that
    torchvision is given. keras: a folder, npz: a file, in that of Keras' data. pickles: folders that hold it in
    pickles. label_bytes: before the pixels of a record of CIFAR, the last of which counts.
    """

    name: str
    train: int
    test: int
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    reader: Reader
    downloads: tuple[Download, ...] = ()
    mirrors: tuple[str, ...] = ()
    needs: tuple[tuple[str, ...], ...] = ()
    folders: tuple[str, ...] = ()
    keras: str = ""
    npz: Member | None = None
    pickles: tuple[str, ...] = ()
    label_bytes: int = 1

    @property
    def has_files(self) -> bool:
        """Whether it is read from files that do not come with netdsl."""
        return bool(self.downloads)

    @property
    def is_packed(self) -> bool:
        """Whether a file of the package has it."""
        return self.reader == "package" or (self.is_text and not self.has_files)

    @property
    def is_text(self) -> bool:
        """Whether it is a text, whose classes are its characters."""
        return self.reader == "text"

    @property
    def members(self) -> tuple[Member, ...]:
        """The files of the whole set, in order."""
        return tuple(member for download in self.downloads for member in download.members)

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names of all files that are read, those that hold a part of another one's samples too."""
        return tuple(name for group in self.needs for name in group)

    @property
    def download_bytes(self) -> int:
        return sum(download.size for download in self.downloads)

    def on_disk(self, member: str) -> str:
        """The name that a file has once it is fetched: packed as it came, unless an archive held it."""
        packed = {d.members[0].name: d.name for d in self.downloads if not d.is_archive}
        return packed.get(member, member)


DIGITS = tuple(str(digit) for digit in range(10))
GARMENTS = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
SYLLABLES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FINE_THINGS = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree
wolf woman worm
"""
FINE_THINGS = tuple(_FINE_THINGS.split())
"""CIFAR-100's fine labels in the order of its `fine_label_names.txt`."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"
CAPITALS = LETTERS.upper()

LECUN = "Y. LeCun, C. Cortes and C. Burges, CC BY-SA 3.0"
KRIZHEVSKY = "A. Krizhevsky 2009, Learning multiple layers of features from tiny images; no licence is stated"

IDX = {
    "train-images-idx3-ubyte": 47_040_016,
    "train-labels-idx1-ubyte": 60_008,
    "t10k-images-idx3-ubyte": 7_840_016,
    "t10k-labels-idx1-ubyte": 10_008,
}
"""The four files of MNIST and of those that took its format -> their bytes, unpacked."""


def _idx(*packed: tuple[int, str], unpacked: tuple[str, ...] = ("", "", "", "")) -> tuple[Download, ...]:
    """The four files, of which each was packed by itself."""
    files = zip(IDX.items(), packed, unpacked, strict=True)
    return tuple(Download(f"{n}.gz", size, sha, (Member(n, raw, own),)) for (n, raw), (size, sha), own in files)


def _text(name: str, size: int, sha256: str) -> tuple[Download, ...]:
    """A text in one file, which is served as it is read."""
    return (Download(name, size, sha256, (Member(name, size, sha256),)),)


def _binary(sizes: int, **hashes: str) -> tuple[Member, ...]:
    """Files of CIFAR's binary version: name without `.bin` -> SHA-256."""
    return tuple(Member(f"{name}.bin", sizes, sha256) for name, sha256 in hashes.items())


_EACH = tuple((name,) for name in IDX)  # all four are needed
_CIFAR10 = _binary(
    30_730_000,
    data_batch_1="cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    data_batch_2="a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    data_batch_3="bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    data_batch_4="014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    data_batch_5="755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    test_batch="8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
)
_CIFAR100 = (
    Member("train.bin", 153_700_000, "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"),
    Member("test.bin", 30_740_000, "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"),
)
_TORONTO = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")

SETS: tuple[NamedData, ...] = (
    NamedData("mnist-mini", 5_000, 1_000, (1, 28, 28), DIGITS, (0.1307,), (0.3081,), f"MNIST: {LECUN}", "package"),
    NamedData(
        *("mnist", 60_000, 10_000, (1, 28, 28), DIGITS, (0.1307,), (0.3081,), LECUN, "idx"),
        downloads=_idx(
            (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
            unpacked=(
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        needs=_EACH,
        folders=("", "mnist", "MNIST/raw"),
        npz=Member("mnist.npz", 11_490_434, "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"),
    ),
    NamedData(
        *("fashion-mnist", 60_000, 10_000, (1, 28, 28), GARMENTS, (0.2860,), (0.3530,)),
        *("H. Xiao, K. Rasul and R. Vollgraf (Zalando), MIT", "idx"),
        downloads=_idx(
            (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
            unpacked=(
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        ),
        mirrors=(
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        needs=_EACH,
        folders=("fashion-mnist", "FashionMNIST/raw", "fashion_mnist", "fashion"),
        keras="fashion-mnist",
    ),
    NamedData(
        *("kmnist", 60_000, 10_000, (1, 28, 28), SYLLABLES, (0.1918,), (0.3483,)),
        *("KMNIST by CODH, adapted from the Kuzushiji Dataset by NIJL and others, CC BY-SA 4.0", "idx"),
        downloads=_idx(
            (18_165_135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
            (29_497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
            (3_041_136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
            (5_120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
        ),
        mirrors=(
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        ),
        needs=_EACH,
        folders=("kmnist", "KMNIST/raw"),
    ),
    NamedData(
        *("cifar10", 50_000, 10_000, (3, 32, 32), THINGS, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        *(KRIZHEVSKY, "cifar"),
        downloads=(
            Download(
                *("cifar-10-binary.tar.gz", 170_052_171),
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                _CIFAR10,
                "cifar-10-batches-bin",
            ),
        ),
        mirrors=_TORONTO,
        needs=(tuple(member.name for member in _CIFAR10[:5]), ("test_batch.bin", "test_batch_1000.bin")),
        folders=("", "cifar10", "cifar-10-batches-bin"),
        pickles=("cifar-10-batches-py", "cifar-10-batches-py-target"),
    ),
    NamedData(
        *("cifar100", 50_000, 10_000, (3, 32, 32), FINE_THINGS, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
        *(KRIZHEVSKY, "cifar"),
        downloads=(
            Download(
                *("cifar-100-binary.tar.gz", 168_513_733),
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
                _CIFAR100,
                "cifar-100-binary",
            ),
        ),
        mirrors=_TORONTO,
        needs=(("train.bin",), ("test.bin",)),
        folders=("cifar100", "cifar-100-binary"),
        pickles=("cifar-100-python", "cifar-100-python-target"),
        label_bytes=2,
    ),
    NamedData("spiral", 1_500, 300, (2,), ("arm 0", "arm 1", "arm 2"), (0.0,), (1.0,), "Stanford's cs231n", "computed"),
    NamedData(
        *("shapes", 800, 200, (1, 32, 32), ("background", "disc", "square", "triangle"), (0.4906,), (0.1827,)),
        *("netdsl", "computed"),
    ),
    NamedData(
        "mnist1d", 4_000, 1_000, (1, 40), DIGITS, (0.0,), (1.0,), "S. Greydanus and D. Kobak, Apache 2.0", "computed"
    ),
    NamedData(
        *("classics", 649_711, 72_191, (), tuple("\n !'(),-.:;?" + CAPITALS + LETTERS), (0.0,), (1.0,)),
        *("J. Milton, W. Shakespeare and L. Carroll, public domain", "text"),
    ),
    NamedData(
        *("tinyshakespeare", 1_003_854, 111_540, (), tuple("\n !$&',-.3:;?" + CAPITALS + LETTERS), (0.0,), (1.0,)),
        *("William Shakespeare, public domain; the selection is A. Karpathy's of char-rnn", "text"),
        downloads=_text(
            *("input.txt", 1_115_394, "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"),
        ),
        mirrors=(
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",
            "https://cdn.jsdelivr.net/gh/karpathy/char-rnn@master/data/tinyshakespeare/",
        ),
        needs=(("input.txt",),),
        folders=("tinyshakespeare",),
    ),
    NamedData(
        *("names", 205_330, 22_815, (), tuple("\n" + LETTERS), (0.0,), (1.0,)),
        *("first names of the United States, Social Security Administration; of A. Karpathy's makemore, MIT", "text"),
        downloads=_text("names.txt", 228_145, "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"),
        mirrors=(
            "https://raw.githubusercontent.com/karpathy/makemore/master/",
            "https://cdn.jsdelivr.net/gh/karpathy/makemore@master/",
        ),
        needs=(("names.txt",),),
        folders=("names",),
    ),
)
CATALOG: Mapping[str, NamedData] = {data.name: data for data in SETS}
