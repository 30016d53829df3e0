#!/usr/bin/env python3
"""Writes the tables of augmentation policies from the packages that publish them.

    pip download --no-deps archai==0.7.0 torchvision
    python3 scripts/policies.py archai-*.whl torchvision-*.whl crates/archai-data/assets/policies.txt

Needs Pillow and NumPy, which a module of archai imports. No figure is copied by hand.
"""
import ast
import pathlib
import sys
import types
import zipfile

HEAD = """\
# Augmentation policies: after a name, one sub-policy on each line, as op, probability and level of each step.
# Written by scripts/policies.py from the Python packages that publish them:
#  - autoaugment_*: torchvision (BSD-3-Clause), the tables of AutoAugment (Cubuk et al., 2019); levels are 0 to 9 of ten, - is none.
#  - fa_reduced_*, arsaug, autoaug_extend: archai (MIT), of Fast AutoAugment (Lim et al., 2019); levels are shares of an op's range.
"""


def of_torchvision(wheel):
    """The lists that AutoAugment._get_policies returns, by the name of the policy that it compares with."""
    tree = ast.parse(zipfile.ZipFile(wheel).read("torchvision/transforms/autoaugment.py"))
    function = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "_get_policies")
    tables = {}
    for node in ast.walk(function):
        if isinstance(node, ast.If):
            name = node.test.comparators[0].attr.lower()
            tables[f"autoaugment_{name}"] = ast.literal_eval(node.body[0].value)
    return tables


def of_archai(wheel):
    """What the functions of archai's modules return."""
    files = zipfile.ZipFile(wheel)
    policies = types.ModuleType("policies")
    exec(files.read("archai/cv/datasets/aug_policies.py"), policies.__dict__)
    # What the second module imports of archai has no part in its tables.
    for name in ("archai", "archai.cv", "archai.cv.datasets", "archai.common", "archai.common.common",
                 "archai.cv.datasets.transforms", "archai.cv.datasets.transforms.cutout_custom"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["archai.cv.datasets.aug_policies"] = policies
    sys.modules["archai.common.common"].logger = None
    sys.modules["archai.cv.datasets.transforms.cutout_custom"].CutoutCustom = None
    augmentation = types.ModuleType("augmentation")
    exec(files.read("archai/cv/datasets/augmentation.py"), augmentation.__dict__)
    return {
        "fa_reduced_cifar10": policies.fa_reduced_cifar10(),
        "fa_reduced_imagenet": policies.fa_resnet50_rimagenet(),
        "fa_reduced_svhn": policies.fa_reduced_svhn(),
        "arsaug": augmentation.arsaug_policy(),
        "autoaug_extend": augmentation.autoaug_policy(),
    }


def main(archai, torchvision, out):
    lines = []
    for name, table in {**of_torchvision(torchvision), **of_archai(archai)}.items():
        lines.append(f"{name} {len(table)}")
        for steps in table:
            lines.append(" ".join(f"{op} {p!r} {'-' if level is None else repr(level)}" for op, p, level in steps))
    pathlib.Path(out).write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
