"""Published settings of the losses: the weight and the parameters of a script or a paper, and the weights beside them.

The recipe is not part of a preset: `suites/cifar100_published.yaml` has that of the scripts named first here.
"""

from __future__ import annotations

from benchbench.components import Preset

REPDISTILLER = "RepDistiller, scripts/run_cifar_distill.sh"
MDISTILLER = "mdistiller, configs"
CLS_KD = "cls_KD, configs/distillers"
SIMKD = "SimKD, scripts/run_distill.sh"
MMRAZOR = "mmrazor, configs/distill/mmseg"
FCFD = "FCFD, classification/experiments"
SDD = "SDD-CVPR2024, configs"
CIFAR, IMAGENET, CITYSCAPES, COCO = "cifar100", "imagenet", "cityscapes", "coco"
FIRST = {"preparation": 0.125}  # 30 epochs before 240

PRESETS: dict[str, tuple[Preset, ...]] = {
    "kd": (
        Preset(CIFAR, REPDISTILLER, 0.9, {"temperature": 4.0, "standardize": False}, {"ce": 0.1}),
        Preset(
            "cifar100_standardized",
            "logit-standardization-KD, README",
            9.0,
            {"temperature": 2.0, "standardize": True},
            {"ce": 0.1},
        ),
        Preset(IMAGENET, f"{MDISTILLER}/imagenet/r34_r18/kd.yaml", 0.5, {"temperature": 1.0}, {"ce": 0.5}),
    ),
    "dkd": (
        Preset(
            CIFAR,
            f"{MDISTILLER}/cifar100/dkd/res32x4_res8x4.yaml; other pairs have beta 2 or 6",
            1.0,
            {"alpha": 1.0, "beta": 8.0, "temperature": 4.0, "warmup_epochs": 20.0},
        ),
        Preset(
            IMAGENET,
            f"{MDISTILLER}/imagenet/r34_r18/dkd.yaml",
            1.0,
            {"alpha": 1.0, "beta": 0.5, "temperature": 1.0, "warmup_epochs": 1.0},
        ),
    ),
    "rld": (
        Preset(
            CIFAR,
            "RLD, configs/cifar100/rld/resnet32x4_resnet8x4.yaml",
            1.0,
            {"alpha": 1.0, "beta": 8.0, "temperature": 4.0, "warmup_epochs": 20.0},
        ),
    ),
    "nkd": (
        Preset(CIFAR, f"{CLS_KD}/cifar100/res34_distill_res18_cifar.py", 1.0, {"temperature": 3.0, "gamma": 3.5}),
        Preset(IMAGENET, f"{CLS_KD}/imagenet/res34_distill_res18_img.py", 1.0, {"temperature": 1.0, "gamma": 1.5}),
    ),
    "wkd_logits": (
        Preset(
            CIFAR,
            "WKD, configs/cifar100/wkd_l/res32x4_res8x4.yaml, but for its costs, which are CKA",
            1.0,
            {
                "temperature": 8.0,
                "gamma": 600.0,
                "sharpen": 1.0,
                "epsilon": 0.05,
                "iterations": 10,
                "decay_epoch": 150.0,
            },
        ),
        Preset(
            IMAGENET,
            "WKD, configs/imagenet/r34_r18/wkd_l.yaml, but for its costs, which are CKA",
            1.0,
            {"temperature": 2.0, "gamma": 30.0, "sharpen": 1.0, "epsilon": 0.05, "iterations": 10, "decay_epoch": 0.0},
        ),
    ),
    "wkd_features": (
        Preset(
            CIFAR,
            "WKD, configs/cifar100/wkd_f/res32x4_res8x4.yaml",
            0.08,
            {"gamma": 4.0, "grid": 1, "decay_epoch": 150.0},
        ),
        Preset(
            IMAGENET,
            "WKD, configs/imagenet/r34_r18/wkd_f.yaml, but for its projector, a bottleneck of three convolutions",
            0.02,
            {"gamma": 2.0, "grid": 4, "decay_epoch": 0.0},
        ),
    ),
    "kdsvd": (Preset(CIFAR, f"{MDISTILLER}/cifar100/kdsvd.yaml", 1.0, {"rank": 1}),),
    "vitkd": (
        Preset(
            IMAGENET,
            f"{CLS_KD}/imagenet/deit-s3_distill_deit-t_img.py, without its nkd",
            1.0,
            {"alpha": 3e-5, "beta": 3e-6, "share": 0.5},
        ),
    ),
    "wsld": (
        Preset(CIFAR, f"{CLS_KD}/cifar100/res34_distill_res18_cifar.py", 2.25, {"temperature": 4.0}),
        Preset(IMAGENET, f"{CLS_KD}/imagenet/res34_distill_res18_img.py", 2.5, {"temperature": 2.0}),
    ),
    "ctkd": (
        Preset(
            CIFAR,
            "CTKD, scripts/run_cifar_distill.sh",
            0.9,
            {"t_min": 1.0, "t_range": 20.0, "start": 0.0, "end": 1.0, "loops": 10.0},
            {"ce": 0.1},
        ),
    ),
    "ttm": (
        Preset(CIFAR, "TTM, README (VGG-13, VGG-8)", 45.0, {"gamma": 0.1, "weighted": False}),
        Preset(
            "cifar100_wttm",
            "TTM, README (VGG-13, VGG-8), WTTM beside `crd: {preset: cifar100}`",
            4.0,
            {"gamma": 0.2, "weighted": True},
            {"ce": 1.0, "crd": 0.8},
        ),
    ),
    "deit": (Preset(IMAGENET, "Touvron et al. 2021, Eq. 3", 0.5, {"kind": "hard"}, {"ce": 0.5}),),
    "crd": (Preset(CIFAR, REPDISTILLER, 0.8, {"negatives": 16384, "temperature": 0.07, "momentum": 0.5, "dim": 128}),),
    "srrl": (
        Preset(
            CIFAR,
            f"{SIMKD}, where the convolution follows the pooling",
            1.0,
            {"maps": True},
            {"ce": 1.0, "kd": 1.0},
        ),
        Preset(IMAGENET, "KD_SRRL, train_imagenet_distillation.py", 1.0, {"maps": True}),
    ),
    "pkt": (Preset(CIFAR, REPDISTILLER, 30000.0),),
    "rkd": (Preset(CIFAR, REPDISTILLER, 1.0, {"distance": 25.0, "angle": 50.0}),),
    "cc": (Preset(CIFAR, REPDISTILLER, 0.02, {"form": "neighbours"}),),
    "sp": (Preset(CIFAR, REPDISTILLER, 3000.0, {"maps": True}),),
    "vid": (Preset(CIFAR, REPDISTILLER, 1.0, {"variance": 5.0, "maps": True}),),
    "simkd": (
        Preset(CIFAR, SIMKD, 1.0, {"factor": 2, "maps": True}, {}),
        Preset(IMAGENET, SIMKD, 1.0, {"factor": 2, "maps": True}, {}),
    ),
    "fitnets": (Preset(CIFAR, REPDISTILLER, 100.0, {"relu": True, "preparation": 0.0}),),
    "at": (Preset(CIFAR, REPDISTILLER, 1000.0, {"p": 2.0}),),
    "nst": (Preset(CIFAR, REPDISTILLER, 50.0),),
    "fsp": (Preset(CIFAR, f"{REPDISTILLER}; a first stage of 30 epochs before 240 is without weight", 50.0, FIRST),),
    "ab": (
        Preset(
            CIFAR,
            f"{REPDISTILLER}; a first stage of 30 epochs before 240 is without weight",
            1.0,
            {**FIRST, "margin": 1.0},
        ),
    ),
    "ft": (Preset("cifar10", "Factor-Transfer-pytorch, train_student.py", 500.0, {"rate": 0.5}),),
    "ofd": (Preset(CIFAR, f"{MDISTILLER}/cifar100/ofd.yaml", 1e-3),),
    "review": (
        Preset(CIFAR, f"{MDISTILLER}/cifar100/reviewkd.yaml (ResNet-32x4, ResNet-8x4)", 5.0, {"warmup_epochs": 20.0}),
        Preset(IMAGENET, f"{MDISTILLER}/imagenet/r34_r18/reviewkd.yaml", 1.0, {"warmup_epochs": 1.0}),
    ),
    "semckd": (Preset(CIFAR, SIMKD, 400.0, beside={"ce": 1.0, "kd": 1.0}),),
    "fcfd": (
        Preset(
            CIFAR,
            f"{FCFD}/cifar/resnet8x4-resnet32x4.yaml; ResNet-20 of ResNet-56 has alpha 0.02",
            1.0,
            {"alpha": 5.0, "temperature": 4.0, "paths": 2, "warmup_epochs": 20.0},
            {"ce": 1.0, "kd": 1.0},
        ),
    ),
    "ofa": (
        Preset(CIFAR, "OFAKD, README (Swin-T, ResNet-18)", 1.0, {"gamma": 1.0, "temperature": 1.0}),
        Preset(IMAGENET, "OFAKD, README (DeiT-T, ResNet-18)", 1.0, {"gamma": 1.5, "temperature": 1.0}),
    ),
    "norm": (
        Preset(
            CIFAR,
            "NORM, README (ResNet-32x4, ResNet-8x4), but for its steps of the weight and its standardised logits",
            1.0,
            {"copies": 8},
            {"ce": 0.1},
        ),
    ),
    "diffkd": (
        Preset(
            IMAGENET,
            "image_classification_sota, configs/strategies/distill/diffkd/diffkd_b1.yaml, but for its 1024 channels "
            "of the code and its diffusion of the logits",
            1.0,
            {"steps": 5},
        ),
    ),
    "sdd": (
        Preset(
            CIFAR,
            f"{SDD}/cifar100/sdd_dkd/res32x4_shuv1.yaml, as README runs it; VGG-8 of VGG-13 has scales 1 and 2",
            1.0,
            {
                "base": "dkd",
                "scales": [1, 2, 4],
                "temperature": 4.0,
                "alpha": 1.0,
                "beta": 8.0,
                "warmup_epochs": 20.0,
            },
        ),
        Preset(
            "cifar100_kd",
            f"{SDD}/cifar100/sdd_kd/res32x4_res8x4.yaml, as teacher_resnet32x4.sh runs it; others have scales 1, 2, 4",
            0.9,
            {"base": "kd", "scales": [1, 2], "temperature": 4.0, "warmup_epochs": 0.0},
            {"ce": 0.1},
        ),
        Preset(
            "cifar100_nkd",
            f"{SDD}/cifar100/sdd_nkd/res32x4_res8x4.yaml, as teacher_resnet32x4.sh runs it, but for the true class "
            "among the others",
            1.0,
            {"base": "nkd", "scales": [1, 2], "temperature": 4.0, "gamma": 8.0, "warmup_epochs": 20.0},
        ),
        Preset(
            IMAGENET,
            f"{SDD}/imagenet/r34_r18/sdd_dkd.yaml, as run.sh runs it",
            1.0,
            {"base": "dkd", "scales": [1, 2], "temperature": 1.0, "alpha": 1.0, "beta": 0.5, "warmup_epochs": 1.0},
        ),
    ),
    "cwd": (
        Preset(
            CITYSCAPES,
            f"{MMRAZOR}/cwd/cwd_logits_pspnet_r101-d8_pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py",
            5.0,
            {"temperature": 1.0, "logits": True},
        ),
    ),
    "fgd": (
        Preset(
            COCO,
            "FGD, configs/distillers/fgd/fgd_fcos_r101_distill_fcos_r50_2x_coco.py, on levels of feature pyramids",
            1.0,
            {"temperature": 0.8, "alpha": 1.6e-3, "beta": 8e-4, "gamma": 8e-4, "relation": 8e-6},
        ),
    ),
    "mgd": (
        Preset(CIFAR, f"{CLS_KD}/cifar100/res34_distill_res18_cifar.py", 1.0, {"alpha": 1.2e-3, "ratio": 0.15}),
        Preset(IMAGENET, f"{CLS_KD}/imagenet/res34_distill_res18_img.py", 1.0, {"alpha": 7e-5, "ratio": 0.15}),
    ),
}
