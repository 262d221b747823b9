"""Advice is right: whoever does what a help proposes has a spec that checks, or one mistake less."""

import random
import re
from pathlib import Path

import pytest

from netdsl.graph.recipe import Recipe
from netdsl.ground.diagnostics import CODES, UserError
from netdsl.ground.spelling import correction
from netdsl.language.train_block import with_entries
from netdsl.pipeline import check_text, fix_text

H, T = "input 1x28x28\n", "\nflatten -> linear 10\n"
END = "flatten -> linear 10\n"

# What people write -> what `check --fix` makes of it; each checks in the end.
MENDED = [
    # signs that look like others
    ("input\u00a01x28x28" + T, "input 1x28x28" + T),
    ("input 1\u00d728\u00d728" + T, "input 1x28x28" + T),
    ("\u200binput 1x28x28" + T, "input 1x28x28" + T),
    ("\uff49nput 1x28x28" + T, "input 1x28x28" + T),
    ("input \uff11x28x28" + T, "input 1x28x28" + T),
    (H + "\u0441onv 8" + T, H + "conv 8" + T),
    (H + "flatten \u2192 linear 10\n", H + END),
    (H + "flatten \u21d2 linear 10\n", H + END),
    (H + "flatten \u2013> linear 10\n", H + END),
    (H + "flatten \u2014> linear 10\n", H + END),
    (H + "flatten \u2014 linear 10\n", H + END),
    (H + "flatten \uff0d\uff1e linear 10\n", H + END),
    (H + "flatten\u3000-> linear 10\n", H + END),
    (H + "flat\u200bten -> linear 10\n", H + END),
    (H + "flat\u202eten -> linear 10\n", H + END),
    (H + "conv 8 k=3\u22121" + T, H + "conv 8 k=3-1" + T),
    (H + "2 \u00d7 conv 8" + T, H + "2 * conv 8" + T),
    (H + END + "train { data \u201cmnist\u201d }\n", H + END + 'train { data "mnist" }\n'),
    (H + END + "train { data \u00abmnist\u00bb }\n", H + END + 'train { data "mnist" }\n'),
    (H + "if in.h \u2264 28 { conv 8 }" + T, H + "if in.h <= 28 { conv 8 }" + T),
    # arrows, ends of lines, comments
    *[(H + f"flatten {arrow} linear 10\n", H + END) for arrow in ("=>", "~>", "|>", ">>", ">", "-->", "- >", "|")],
    (H + "conv 8 -- relu" + T, H + "conv 8 -> relu" + T),
    (H + "conv 8 + relu" + T, H + "conv 8 -> relu" + T),
    (H + "conv 8, relu" + T, H + "conv 8 -> relu" + T),
    (H + "flatten;\nlinear 10;\n", H + "flatten\nlinear 10\n"),
    (H + "flatten; linear 10\n", H + END),
    (H + "flatten -> linear 10 // the end\n", H + "flatten -> linear 10 # the end\n"),
    ("// a net\n" + H + END, "# a net\n" + H + END),
    ("-- a net\n" + H + END, "# a net\n" + H + END),
    ("; a net\n" + H + END, "# a net\n" + H + END),
    # the input
    *[
        (f"{text}{T}", f"input 1x28x28{T}")
        for text in ("input (1, 28, 28)", "input [1,28,28]", "input 1,28,28", "input 1*28*28", "input 1X28X28")
        + ("input 1 x 28 x 28", "input 1 28 28", "input: 1x28x28", "input = 1x28x28", "input(1, 28, 28)")
        + ("input shape=(1, 28, 28)", "input (None, 1, 28, 28)", "Input 1x28x28", "inputs 1x28x28", "imput 1x28x28")
    ],
    # PyTorch and Keras
    *[
        (f"input 5x28\n{text}\n", f"input 5x28\n{layer}\n")
        for text, layer in (
            ("nn.LSTM(28, 128, num_layers=2, batch_first=True, bidirectional=True)", "lstm 128 layers=2 bi"),
            ("nn.GRU(28, 64, 2, dropout=0.1, bias=False)", "gru 64 layers=2 dropout=0.1 nobias"),
            ("nn.RNN(28, 64, nonlinearity='relu')", "rnn 64 relu"),
            ("layers.SimpleRNN(64, return_sequences=True)", "rnn 64"),
        )
    ],
    *[
        (H + f"{text}{T}", H + f"{layer}{T}")
        for text, layer in (
            ("Conv2d(1, 32, 3)", "conv 32 k3"),
            ("Conv2d(32, 3)", "conv 32 k3"),
            ("conv(32, 3)", "conv 32 k3"),
            ("conv2d(32, kernel_size=5, padding=2)", "conv 32 k5 p2"),
            ("nn.Conv2d(1, 32, 5)", "conv 32 k5"),
            ("self.conv1 = nn.Conv2d(1, 32, 5)", "conv1: conv 32 k5"),
            ("nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False) -> nn.ReLU()", "conv 8 k3 s2 p1 nobias -> relu"),
            ("Conv2D(32, (3, 3), activation='relu', padding='same')", "conv 32 k3 same -> relu"),
            ("x = conv 8 k3", "conv 8 k3"),
            ("conv1 = conv 8 k3", "conv1: conv 8 k3"),
            ("conv 32 5", "conv 32 k5"),
            ("conv 32 (5, 5)", "conv 32 k5"),
            ("conv 32 k(5, 5)", "conv 32 k=5"),
            ("conv 32 k=(5, 3)", "conv 32 k=5x3"),
            ("conv 32 k 5", "conv 32 k=5"),
            ("conv 32 kernel 5 stride 2", "conv 32 kernel=5 stride=2"),
            ("conv 32, kernel_size=5, padding=2", "conv 32 kernel_size=5 padding=2"),
            ("conv out_channels=32 kernel_size=3", "conv filters=32 kernel_size=3"),
            ("conv 32 k3 in_channels=1", "conv 32 k3"),
            ("conv 32 k3 bias=False", "conv 32 k3 nobias"),
            ("conv 32 k3 bias=True", "conv 32 k3"),
            ("conv 32 k3 use_bias=False", "conv 32 k3 nobias"),
            ("conv 32 k3 padding=same", "conv 32 k3 same"),
            ("conv 32 k3 padding='same'", "conv 32 k3 same"),
            ("conv 32 k3 p=valid", "conv 32 k3"),
            ("conv 32 k3 strides=2", "conv 32 k3 stride=2"),
            ("conv 32 k3 activation=relu", "conv 32 k3 -> relu"),
            ("conv 32 k3 relu", "conv 32 k3 -> relu"),
            ("conv 32 no_bias", "conv 32 nobias"),
            ("conv 32 K3", "conv 32 k3"),
            ("conv 32 k:3", "conv 32 k=3"),
            ('conv 32 k="3"', "conv 32 k=3"),
            ("conv 32 `k3`", "conv 32 k3"),
            ("ReLU", "relu"),
            ("ReLU()", "relu"),
            ("nn.ReLU", "relu"),
            ("maxpool 2", "pool 2"),
            ("maxpool2d 2", "pool 2"),
            ("MaxPool2d(2)", "pool 2"),
            ("MaxPooling2D((2, 2))", "pool 2"),
            ("pool 2 2", "pool 2 s2"),
            ("dropout=0.5", "dropout 0.5"),
            ("dropout rate=0.5", "dropout p=0.5"),
            ("dropout 50%", "dropout 0.5"),
            ("Dropout(p=0.5)", "dropout 0.5"),
            ("conv 8 -> BatchNorm2d(8) -> LeakyReLU(0.1)", "conv 8 nobias -> bn -> leaky 0.1"),
            ("conv 8 -> bn", "conv 8 nobias -> bn"),
        )
    ],
    (H + "flatten -> dense 10\n", H + END),
    # signals
    ("input 9x128\nconv 4 k3\n", "input 9x128 map\nconv 4 k3\n"),
    ("input 9x128 mean 1 std 2\nrelu -> pool 2\n", "input 9x128 map mean 1 std 2\nrelu -> pool 2\n"),
    ("input 9x128 map\nconv 4 k1x3 s1x2\n", "input 9x128 map\nconv 4 k3 s2\n"),
    ("input 9x128 map\nconv 4 k3 p=0x2x0x0\n", "input 9x128 map\nconv 4 k3 p=2x0\n"),
    *[
        (f"{text}\nrelu\n", "input 9x128 map\nrelu\n")
        for text in (
            "input (9, 128) map",
            "input map 9x128",
            "input 9x128 signal",
            "input 9x128 Map",
            "input 9x128 mapp",
        )
        + ("input: 9 128 map", "Input 9x128 map", "input 9x128, map", "input 9x128map", "input 9x128 mpa")
    ],
    ("input 4x6 maen 1 std 1\nrelu\n", "input 4x6 mean 1 std 1\nrelu\n"),
    *[
        (f"input 9x128 map\n{text}\n", f"input 9x128 map\n{layer}\n")
        for text, layer in (
            ("nn.Conv1d(9, 32, 5)", "conv 32 k5"),
            ("conv1d 32 k5", "conv 32 k5"),
            ("Conv1D(32, 5, activation='relu', padding='same')", "conv 32 k5 same -> relu"),
            ("Conv1D(32, 3, padding='causal', dilation_rate=2)", "conv 32 k3 p4x0 d2"),
            ("self.first = nn.Conv1d(9, 32, 5)", "first: conv 32 k5"),
            ("MaxPooling1D(2)", "pool 2"),
            ("conv 8 k1 -> nn.BatchNorm1d(8) -> relu", "conv 8 k1 nobias -> bn -> relu"),
        )
    ],
    ("input 1x8x8x8\nnn.Conv3d(1, 4, 3, padding=1)\n", "input 1x8x8x8\nconv 4 k3 p1\n"),
    ("input 1x8x8x8\nMaxPool3d((1, 2, 2))\n", "input 1x8x8x8\npool 1x2x2\n"),
    (H + "nn.ZeroPad2d((1, 2, 3, 4))" + T, H + "pad 3x1x4x2" + T),
    ("input 9x128 map\npool in.h\n", "input 9x128 map\npool in.w\n"),
    (H + "flatten -> Dense(10)\n", H + END),
    (H + "flatten -> nn.Linear(784, 10)\n", H + END),
    (H + "flatten -> linear 10 -> LogSoftmax(dim=1)\n", H + "flatten -> linear 10 -> logsoftmax\n"),
    (H + "flatten -> linear 10 -> tanh dim=1\n", H + "flatten -> linear 10 -> tanh\n"),
    (H + "GlobalAveragePooling2D() -> linear 10\n", H + "gap -> linear 10\n"),
    # names, values, conditions
    (H + "let c := 3\nconv c" + T, H + "let c = 3\nconv c" + T),
    (H + "let c 3\nconv c" + T, H + "let c = 3\nconv c" + T),
    (H + "c = 3\nconv c" + T, H + "let c = 3\nconv c" + T),
    (H + "const c = 3\nconv c" + T, H + "let c = 3\nconv c" + T),
    (H + "let b = True\nif b { conv 8 }" + T, H + "let b = true\nif b { conv 8 }" + T),
    (H + "if in.c = 1 { conv 8 }" + T, H + "if in.c == 1 { conv 8 }" + T),
    (H + "if in.c == 1 && in.h > 2 { conv 8 }" + T, H + "if in.c == 1 and  in.h > 2 { conv 8 }" + T),
    (H + "for i in range(3) { conv 8 }" + T, H + "for i in 0..3 { conv 8 }" + T),
    (H + "for i in 0...3 { conv 8 }" + T, H + "for i in 0..3 { conv 8 }" + T),
    (H + "for (i in 0..3) { conv 8 }" + T, H + "for i in 0..3 { conv 8 }" + T),
    (H + "block f(c) { conv c }\nf 8" + T, H + "block f(c) { conv c }\nf(8)" + T),
    (H + "@skip: conv 8 -> add { @skip | id }" + T, H + "skip: conv 8 -> add { @skip | id }" + T),
    (H + "concat { id | id }" + T, H + "cat { id | id }" + T),
    (H + "add { conv 8, conv 8 }" + T, H + "add { conv 8 | conv 8 }" + T),
    (H + "skip: conv 8 -> relu -> add { @skp | id }" + T, H + "skip: conv 8 -> relu -> add { @skip | id }" + T),
    (H + END + "expect params = 7850\n", H + END + "expect params == 7850\n"),
    (H + END + "expect params == 7,850\n", H + END + "expect params == 7_850\n"),
    # the train block
    *[
        (H + END + f"train {{ {text} }}\n", H + END + f"train {{ {right} }}\n")
        for text, right in (
            ("optimizer adam", "opt adam"),
            ("opt=adam", "opt adam"),
            ("opt: adam", "opt adam"),
            ("opt adam, lr=0.1", "opt adam lr=0.1"),
            ("opt adam(lr=0.1, wd=0.1)", "opt adam lr=0.1 wd=0.1"),
            ("opt SGD learning_rate=0.1", "opt sgd lr=0.1"),
            ("opt adam weight_decay=0.1", "opt adam wd=0.1"),
            ("opt sgd lr 0.1", "opt sgd lr=0.1"),
            ("opt sgd lr=.1", "opt sgd lr=0.1"),
            ("opt sgd 0.1", "opt sgd lr=0.1"),
            ("opt adam betas=[0.9, 0.999]", "opt adam betas=(0.9, 0.999)"),
            ("loss crossentropy", "loss ce"),
            ("loss CrossEntropyLoss", "loss ce"),
            ("epochs=5", "epochs 5"),
            ("batch_size 5", "batch 5"),
            ("data 'mnist'", 'data "mnist"'),
            ("data mnist.npz", 'data "mnist.npz"'),
            ("data ../faces", 'data "../faces"'),
            ("val 10%", "val 0.1"),
            ("augment flip=true", "augment flip"),
            ("augment crop 4", "augment crop=4"),
            ("augment hflip", "augment flip"),
        )
    ],
]


@pytest.mark.parametrize("text, right", MENDED, ids=lambda text: text.replace(T, "")[-40:])
def test_a_known_habit_is_mended_by_the_edit_that_its_help_proposes(text, right):
    assert check_text(text)[1]
    mended, count = fix_text(text)
    assert mended == right and count >= 1
    net, diagnostics = check_text(mended)
    assert net is not None and all(d.level == "warning" for d in diagnostics)
    assert fix_text(mended) == (mended, 0)


# The text, what its first help must say, and the text of who follows it, which checks.
FOLLOWED = [
    ("input 9x128\nconv 64 k3\n", "write `input 9x128 map` for 9 channels", "input 9x128 map\nrelu\n"),
    ("input 128x9\nconv 64 k3\n", "write `input 9x128 map` for 9 channels", "input 9x128 map\nrelu\n"),
    ("input 28x28\nconv 8 k3\n", "write `input 28x28 map` for 28 channels of 28 steps", "input 28x28 map\nrelu\n"),
    ("input 1x900\nconv 4 k3\n", "write `input 1x900 map` for 1 channel of 900 steps", "input 1x900 map\nrelu\n"),
    ("input 4x6\nbn\n", "use `ln`", "input 4x6\nln\n"),
    ("input 4x6\nbn\n", "write `input 4x6 map` for 4 channels of 6 steps", "input 4x6 map\nrelu\n"),
    ("input 4x6\ndropout2d\n", "use `dropout`", "input 4x6\ndropout\n"),
    ("input 30\nup 3\n", "a signal of one channel is written as `input 1x30 map`", "input 1x30 map\nrelu\n"),
    ("input 30\nup 3\n", "`reshape 1x30 map` a signal", "input 30\nreshape 1x30 map -> relu\n"),
    ("input 9x12 map\nlinear 3\n", "`flatten` or `gap`", "input 9x12 map\nflatten -> linear 3\n"),
    ("input 9x12 map\nlinear 3\n", "`tokens` before it", "input 9x12 map\ntokens -> linear 3\n"),
    ("input 9x12 map\nconv 4 k3 padding=causal\n", "`p2x0` for a kernel of 3", "input 9x12 map\nconv 4 k3 p2x0\n"),
    ("input 9x12 map\nconv 4 k3 causal\n", "`p2x0` for a kernel of 3", "input 9x12 map\nconv 4 k3 p2x0\n"),
    ("input 16x3\nmap 4 4\n", "written as one: `map 4x4`", "input 16x3\nmap 4x4\n"),
    ("input 12\nreshape 3 4 map\n", "written as one: `reshape 3x4`", "input 12\nreshape 3x4 map\n"),
    ("input 12\nreshape 3x4 mpa\n", "did you mean `map`?", "input 12\nreshape 3x4 map\n"),
    (
        "input 9x12 map\ncat { id | tokens -> transpose }\n",
        "`map` makes",
        "input 9x12 map\ncat { id | tokens -> map }\n",
    ),
    ("input 9x12 map\ncat { id | reshape 9x4x3 }\n", "add `reshape 9x12 map`", "input 9x12 map\nrelu\n"),
    ("input 9x12 map\ncat { id | pool 2 }\n", "the same strides", "input 9x12 map\ncat { id | pool 3 s1 p1 }\n"),
    ("input 9x12 map\ncrop 20\n", "use 12, or less", "input 9x12 map\ncrop 12\n"),
    ("input 9x12 map\nmha 3\n", "`tokens` makes a sequence", "input 9x12 map\ntokens -> mha 3\n"),
    ("input 64x1x28x28\nconv 8 k3\n", "an image is `input 1x28x28`", "input 1x28x28\nconv 8 k3\n"),
    ("input 64x1x28x28\npool 2\n", "an image is `input 1x28x28`", "input 1x28x28\npool 2\n"),
    (
        "input 9x12 map\nadd { id | tokens -> transpose }\n",
        "`map` makes",
        "input 9x12 map\nadd { id | tokens -> map }\n",
    ),
    (
        "input 4x6 map\nadd { id | reshape 4x3x2 }\n",
        "add `reshape 4x6 map`",
        "input 4x6 map\nadd { id | reshape 4x3x2 -> reshape 4x6 map }\n",
    ),
    ("input 28x28\nconv 8 k3\n", "`input 1x28x28`", "input 1x28x28\nconv 8 k3\n"),
    ("input 28x28x1\nconv 8 k3\n", "write `input 1x28x28`", "input 1x28x28\nconv 8 k3\n"),
    ("input 784\nconv 8 k3\n", "an image is written as `input 1x28x28`", "input 1x28x28\nconv 8 k3\n"),
    ("input 3x4x4\ntokens -> conv 8\n", "`map 4x4` an image", "input 3x4x4\ntokens -> map 4x4 -> conv 8\n"),
    ("input 3x4x4\ntokens -> pool 2\n", "`map` before it makes a signal", "input 3x4x4\ntokens -> map -> relu\n"),
    ("input 3x4x4\ntokens -> bn\n", "use `ln`", "input 3x4x4\ntokens -> ln\n"),
    ("input 3x4x4\ntokens -> gn 3\n", "use `ln`", "input 3x4x4\ntokens -> ln\n"),
    ("input 3x4x4\ntokens -> dropout2d\n", "use `dropout`", "input 3x4x4\ntokens -> dropout\n"),
    ("input 3x4x4\ntokens -> tokens\n", "leave it out", "input 3x4x4\ntokens\n"),
    ("input 3x4x4\ntokens -> prelu channelwise\n", "leave it out", "input 3x4x4\ntokens -> prelu\n"),
    ("input 8x4x4\nmha 2\n", "`tokens` makes a sequence", "input 8x4x4\ntokens -> mha 2\n"),
    ("input 8x4x4\npos\n", "`tokens` makes a sequence", "input 8x4x4\ntokens -> pos\n"),
    ("input 8x4x4\ncls\n", "`tokens` makes a sequence", "input 8x4x4\ntokens -> cls\n"),
    ("input 8x4x4\ntake 0\n", "`tokens` makes a sequence", "input 8x4x4\ntokens -> take 0\n"),
    ("input 8\nmha 2\n", "`reshape 1x8`", "input 8\nreshape 1x8 -> mha 2\n"),
    ("input 8\ntokens\n", "`reshape 1x8`", "input 8\nreshape 1x8\n"),
    ("input 8\nup 3\n", "`reshape 8x1x1`", "input 8\nreshape 8x1x1 -> up 3\n"),
    ("input 8\nconvt 3\n", "`reshape 8x1x1`", "input 8\nreshape 8x1x1 -> convt 3\n"),
    ("input 8\npad 1\n", "`reshape 8x1x1`", "input 8\nreshape 8x1x1 -> pad 1\n"),
    ("input 8\nconv 3\n", "`linear`", "input 8\nlinear 3\n"),
    ("input 8\ngap -> linear 3\n", "leave it out", "input 8\nlinear 3\n"),
    ("input 8\npool 2 -> linear 3\n", "leave it out", "input 8\nlinear 3\n"),
    ("input 8\ndropout2d\n", "use `dropout`", "input 8\ndropout\n"),
    ("input 3x8x8\nlinear 3\n", "`flatten` or `gap`", "input 3x8x8\ngap -> linear 3\n"),
    ("input 3x4x4\nconv 8 k7\n", "use k4 or less, or p2", "input 3x4x4\nconv 8 k7 p2\n"),
    ("input 3x4x4\nconv 8 k7\n", "use k4 or less, or p2", "input 3x4x4\nconv 8 k4\n"),
    ("input 3x9x9\nconv 8 k5 d3\n", "use k3 or less, or p2", "input 3x9x9\nconv 8 k5 d3 p2\n"),
    ("input 3x4x4\npool 5\n", "use a window of 4 or less", "input 3x4x4\npool 4\n"),
    ("input 3x8x8\npool 3 p2\n", "use p1 or less", "input 3x8x8\npool 3 p1\n"),
    ("input 3x8x8\nconv 8 g2\n", "use a divisor of 3", "input 3x8x8\nconv 9 g3\n"),
    ("input 8x8x8\ngn 3\n", "use a divisor of 8", "input 8x8x8\ngn 4\n"),
    ("input 8\ngn 8\n", "use 4 or less", "input 8\ngn 4\n"),
    ("input 3x8x8\nconv 8 k3 p1 same\n", "leave out one", "input 3x8x8\nconv 8 k3 same\n"),
    ("input 3x8x8\nadd { conv 4 | id }\n", "`conv 4 k1`", "input 3x8x8\nadd { conv 4 | conv 4 k1 }\n"),
    ("input 4\nadd { linear 4 | linear 6 }\n", "`linear 6`", "input 4\nadd { linear 4 -> linear 6 | linear 6 }\n"),
    ("input 3x4x4\ncat { gap | id }\n", "`flatten`", "input 3x4x4\ncat { gap | flatten }\n"),
    ("input 3x4x4\nadd { conv 4 k3 | conv 4 }\n", "`p1`", "input 3x4x4\nadd { conv 4 k3 p1 | conv 4 }\n"),
    ("input 3x4x4\nconvt 2 k2 s2 op2\n", "use op1 or less", "input 3x4x4\nconvt 2 k2 s2 op1\n"),
    ("input 3x1x1\nconvt 2 k2 p1\n", "p0 or less", "input 3x1x1\nconvt 2 k2 p0\n"),
    ("input 6x4x4\npixelshuffle 2\n", "give the layer before it 8 filters", "input 6x4x4\nconv 8 -> pixelshuffle 2\n"),
    ("input 6\nslice 6 7\n", "use 5 or less", "input 6\nslice 5 6\n"),
    ("input 6\nslice 2 2\n", "use 3 or more", "input 6\nslice 2 3\n"),
    ("input 6\nslice 2 9\n", "use 6 or less", "input 6\nslice 2 6\n"),
    ("input 4x6\ntake 4\n", "use 3 or less", "input 4x6\ntake 3\n"),
    ("input 4x6\ntake -5\n", "use -4 or more", "input 4x6\ntake -4\n"),
    ("input 4x6\nlstm 3 dropout=0.2\n", "write `layers=2`", "input 4x6\nlstm 3 layers=2 dropout=0.2\n"),
    ("input 4x6\ngru 3 dropout=0.2\n", "`dropout 0.2` behind", "input 4x6\ngru 3 -> dropout 0.2\n"),
    ("input 1x40 map\nlstm 8\n", "`tokens` before it makes", "input 1x40 map\ntokens -> lstm 8\n"),
    ("input 3x4x4\ngru 8\n", "`tokens` before it makes", "input 3x4x4\ntokens -> gru 8\n"),
    ("input 8\nrnn 2\n", "`reshape 1x8`", "input 8\nreshape 1x8 -> rnn 2\n"),
    ("input 4x6\nlstm\n", "for example `lstm 32`", "input 4x6\nlstm 32\n"),
    ("input 4x6\nmha 4\n", "use a divisor of 6", "input 4x6\nmha 3\n"),
    ("input 6\nlinear\n", "for example `linear 32`", "input 6\nlinear 32\n"),
    ("input 6\nslice\n", "for example `slice 0 2`", "input 6\nslice 0 2\n"),
    ("input 6\nslice 2\n", "for example `slice 2 4`", "input 6\nslice 2 4\n"),
    ("input 3x4x4\nadd { id }\n", "`id` passes the input on", "input 3x4x4\nadd { id | id }\n"),
    ("input 3x4x4\nadd id\n", "write `add { a | b }`", "input 3x4x4\nadd { id | id }\n"),
    ("input 3x4x4\nadd(conv 3, id)\n", "`add { a | b }`", "input 3x4x4\nadd { conv 3 | id }\n"),
    ("input 3x4x4\nadd { | id }\n", "`id` passes the input on", "input 3x4x4\nadd { id | id }\n"),
    ("input 3x4x4\nres { conv 3 | id }\n", "write `add { a | b }`", "input 3x4x4\nadd { conv 3 | id }\n"),
    ("input 4\n(linear 2 -> relu)\n", "stands in braces", "input 4\n{ linear 2 -> relu }\n"),
    ("input 4\n2*(linear 2)\n", "stands in braces", "input 4\n2 * { linear 2 -> relu }\n"),
    ("input 1x8x8\nconv 8 k3 * 3\n", "write it before: `3 * conv", "input 1x8x8\n3 * conv 8 k3\n"),
    ("input 4\nlet c = 2**3\nlinear c\n", "`2*2*2`", "input 4\nlet c = 2*2*2\nlinear c\n"),
    ("input 4\nlinear 8k\n", "space between", "input 4\nlinear 8\n"),
    ("input 4\nblock f { linear 2 }\nf()\n", "`block f(...) { ... }`", "input 4\nblock f() { linear 2 }\nf()\n"),
    ("input 4\nblock f(c):\n linear c\nf(2)\n", "write `block f(c) {", "input 4\nblock f(c) { linear c }\nf(2)\n"),
    ("input 4\ndef f(c): linear c\nf(2)\n", "write `block f(c) {", "input 4\nblock f(c) { linear c }\nf(2)\n"),
    ("input 4\nif in.c > 3: linear 2\n", "stands in braces", "input 4\nif in.c > 3 { linear 2 }\n"),
    ("input 4\nfor i 0..2 { linear 2 }\n", "`for i in 0..4 { ... }`", "input 4\nfor i in 0..2 { linear 2 }\n"),
    ("input 4\nimport torch\nlinear 2\n", "leave this line out", "input 4\nlinear 2\n"),
    ("input 4\nlinear 2\ntrain epochs 5\n", "`train { epochs 5 }`", "input 4\nlinear 2\ntrain { epochs 5 }\n"),
    ("input 4\nlinear 2\ntrain { lr 0.1 }\n", "`opt adam lr=0.1`", "input 4\nlinear 2\ntrain { opt adam lr=0.1 }\n"),
    ("input 4\nlinear 2\ntrain { val 10 }\n", "10 per cent is `0.1`", "input 4\nlinear 2\ntrain { val 0.1 }\n"),
    ("input 4\nlinear 2\ntrain { epochs 1e2 }\n", "write `100`", "input 4\nlinear 2\ntrain { epochs 100 }\n"),
    (
        "input 4\nlinear 2\ntrain { patience 3 }\n",
        "`stop patience=3`",
        "input 4\nlinear 2\ntrain { stop patience=3 }\n",
    ),
    (
        "input 4\nlinear 2\ntrain { smooth 0.1 }\n",
        "`loss ce smooth=0.1`",
        "input 4\nlinear 2\ntrain { loss ce smooth=0.1 }\n",
    ),
    ("input 4\nlinear 2\ntrain { flip }\n", "`augment flip`", "input 1x4x4\ngap\nlinear 2\ntrain { augment flip }\n"),
    ("input 4\ndropout 50 -> linear 2\n", "per cent is `0.5`", "input 4\ndropout 0.5 -> linear 2\n"),
    ("input 4\nlinear 2.0\n", "write `2`", "input 4\nlinear 2\n"),
    ("input 1x4x4\nconv 2 k=3.0\n", "write `k=3`", "input 1x4x4\nconv 2 k=3\n"),
    ("input 4\nlinear 1\ntrain { loss ce }\n", "`loss bce` for yes and no", "input 4\nlinear 1\ntrain { loss bce }\n"),
    (
        "input 4\nlinear 2\ntrain { schedule step }\n",
        "write `schedule step every=10`",
        "input 4\nlinear 2\ntrain { schedule step every=10 }\n",
    ),
    ("input 4\nlinear 2\nexpect params == 9\n", "`expect params == 10`", "input 4\nlinear 2\nexpect params == 10\n"),
    ("input 4\nx: linear 2\nclass: relu\n", "`class_1`", "input 4\nx: linear 2\nclass_1: relu -> id\n"),
    ("input 4\nlet k3 = 2\nlinear k3\n", "`k_3`", "input 4\nlet k_3 = 2\nlinear k_3\n"),
]


@pytest.mark.parametrize("text, said, right", FOLLOWED, ids=[text for text, _, _ in FOLLOWED])
def test_whoever_follows_a_help_has_a_spec_that_checks(text, said, right):
    _, diagnostics = check_text(text)
    assert any(said in help for d in diagnostics for help in d.help), [d.help for d in diagnostics]
    net, after = check_text(right)
    assert net is not None, after


def test_mistakes_that_hide_each_other_are_mended_one_after_the_other():
    text = "input (1, 28, 28)\nself.conv1 = nn.Conv2d(1, 32, 5, padding=2) \u2192 rellu\nflatten -> Dense(10)\n"
    assert fix_text(text)[0] == "input 1x28x28\nconv1: conv 32 k5 p2 -> relu\nflatten -> linear 10\n"


def test_a_bias_is_taken_away_only_where_no_copy_of_its_layer_needs_it():
    both = "input 3x8x8\nblock b(c, norm) { conv c k1 -> if norm { bn } -> relu }\nb(8, true) -> b(8, false) -> gap\n"
    assert [d.code for d in check_text(both)[1]] == ["N605"] and fix_text(both) == (both, 0)
    always = both.replace("b(8, false)", "b(8, 2 > 1)")
    assert fix_text(always)[0] == always.replace("conv c k1", "conv c k1 nobias")
    read = "input 3x8x8\nskip: conv 3 k1 -> bn -> add { id | @skip }\n"
    assert fix_text(read) == (read, 0)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_a_byte_order_mark_stay_as_they_are(newline, mark):
    lines = ["input 1x8x8", "conv 4 k3 nobais -> rellu", "\tflatten => dense 3", ""]
    right = ["input 1x8x8", "conv 4 k3 nobias -> relu", "\tflatten -> linear 3", ""]
    assert fix_text(mark + newline.join(lines)) == (mark + newline.join(right), 4)


def test_an_edit_that_would_not_help_is_not_made():
    """`relu5` may be two words; the window that is left does not fit, whatever is done to the name beside it."""
    for text in ("input 4\nrelu5\n", "input 3x4x4\nconv 8 k9\n", "input 4\nfoo(3)\n", "input 4\n2 + 2\n"):
        assert fix_text(text) == (text, 0)


@pytest.mark.parametrize("seed", range(4))
def test_texts_cut_and_mixed_at_random_are_answered_and_mended_once(seed):
    choose = random.Random(seed)
    texts = [text for text, _ in MENDED] + [text for text, _, _ in FOLLOWED]
    signs = [
        "\u2192",
        "\u00d7",
        "\u201c",
        "'",
        "=",
        ",",
        ";",
        ":",
        "(",
        ")",
        "{",
        "|",
        "//",
        "nn.",
        "self.",
        "\u200b",
        "%",
        "->",
    ]
    for _ in range(60):
        text = choose.choice(texts)
        at, other = choose.randrange(len(text)), choose.choice(texts)
        text = (
            text[:at]
            + choose.choice([*signs, other[choose.randrange(len(other)) :][:20], ""])
            + text[at + choose.randrange(4) :]
        )
        net, diagnostics = check_text(text)
        assert net is not None or diagnostics
        mended, count = fix_text(text)
        assert (mended == text) == (count == 0) and fix_text(mended) == (mended, 0), text


BROKEN = sorted((Path(__file__).parent / "golden/diagnostics").glob("*.net"))


def test_an_edit_that_is_applied_leaves_fewer_mistakes_in_every_broken_spec():
    applied = 0
    for path in BROKEN:
        text = path.read_text(encoding="utf-8")
        mended, count = fix_text(text)
        applied += count > 0
        before, after = (len([d for d in check_text(t)[1] if d.level == "error"]) for t in (text, mended))
        assert (mended != text) == (count > 0)
        assert after <= before or count, path.stem
        assert fix_text(mended) == (mended, 0), path.stem
    assert applied >= 100


@pytest.mark.parametrize(
    "key, text, right",
    [
        ("opt", "adam(lr=0.1)", "adam lr=0.1"),
        ("opt", "sgd lr 0.1", None),
        ("schedule", "step", "step every=10"),
        ("loss", "=ce", None),
        ("augment", "", "shift=2 flip"),
    ],
)
def test_a_help_about_an_option_shows_the_option(key, text, right):
    with pytest.raises(UserError) as error:
        with_entries(Recipe(), {key: text})
    assert not re.search(rf"`{key} [^`]*`", error.value.help)
    if right is not None:
        shown = f'`--{key} "{right}"`' if " " in right else f"`--{key} {right}`"
        assert shown in error.value.help
        with_entries(Recipe(), {key: right})


def test_as_many_situations_are_tried_as_the_readme_says():
    assert len(MENDED) + len(FOLLOWED) > 220


def test_code_of_another_language_is_answered_line_by_line():
    text = "import torch.nn as nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    text += "        self.conv1 = nn.Conv2d(1, 32, 3)\n    def forward(self, x):\n        return self.conv1(x)\n"
    helps = [help for d in check_text(text)[1] for help in d.help]
    assert len(helps) == 7 and sum("leave this line out" in help for help in helps) == 6
    assert "write `conv1: conv 32 k3`" in helps
    (keras,) = check_text("model = Sequential([\n  Conv2D(8, 3),\n  Flatten(),\n])\n")[1]
    assert "leave `Sequential` out" in keras.help[0]


def test_no_help_blames_what_is_right():
    """`name the others, as in` names an attribute that is free; `did you mean` never names what was written."""
    for path in BROKEN:
        for d in check_text(path.read_text(encoding="utf-8"))[1]:
            for help in d.help:
                guess = re.match(r"did you mean `([^`=]+)`\?", help)
                assert not guess or guess[1] != d.span.text, (path.stem, help)


def test_every_code_of_a_warning_can_be_ignored_and_no_other():
    warnings = [code for code in CODES if code.startswith("N6") and code != "N610"]
    assert len(warnings) >= 9
    text = "input 4\nlinear 2 -> softmax"
    assert [d.code for d in check_text(text)[1]] == ["N604"]
    assert check_text(f"{text}  # netdsl: ignore N604\n")[1] == []
    assert check_text("input 4\n# netdsl: ignore N604, N605\nlinear 2 -> softmax\n")[1][0].code == "N610"


@pytest.mark.parametrize(
    "comment, said",
    [
        ("# netdsl: ignore N605", "`N605` is not said of this line, so there is nothing to ignore"),
        ("# netdsl: ignore", "this ignores nothing: it names no code"),
        ("# netdsl: ignore N999", "there is no code `N999`"),
        ("# netdsl: ignore N604 N201", "`N201` is an error, which cannot be ignored"),
    ],
)
def test_an_ignore_that_ignores_nothing_is_said(comment, said):
    _, diagnostics = check_text(f"input 4\nlinear 2 -> softmax  {comment}\n")
    assert said in [d.message for d in diagnostics] and {d.level for d in diagnostics} == {"warning"}
    assert ("N604" in {d.code for d in diagnostics}) == ("N604" not in comment)


def test_an_error_stays_an_error_whatever_a_comment_says():
    net, diagnostics = check_text("input 1x4x4\nconv 8 k7  # netdsl: ignore N201\n")
    assert net is None and [d.code for d in diagnostics] == ["N201"]
    assert check_text('input 4\nlinear 2 -> softmax\ntrain { data "# netdsl: ignore N604" }\n')[1][0].code == "N604"


def test_a_word_is_corrected_only_where_one_word_is_meant():
    known = ["relu", "relu6", "conv", "convt", "nobias", "add"]
    told = {"rellu": "relu", "Relu": "relu", "nobais": "nobias", "no_bias": "nobias", "con": "conv", "convx": None}
    told |= {"relu5": None, "xyz": None, "ad": None, "RELU_6": "relu6"}
    assert {word: correction(word, known) for word in told} == told
