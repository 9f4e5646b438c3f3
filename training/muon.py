"""torch's Muon with all matrices of one shape put right together, for a GPU, where many small products take longer.

On a GPU a step of a model of twelve layers launches some thousands of small kernels in `torch.optim.Muon`, and some
dozens here; the arithmetic is the same.
"""

from collections import defaultdict

import torch
from torch import Tensor


def orthogonal(matrices: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """(n, rows, columns) with singular values near one, in bfloat16: Newton and Schulz's iteration, fifth degree."""
    a, b, c = coefficients
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class StackedMuon(torch.optim.Muon):
    """Takes the options and keeps the state of `torch.optim.Muon`; `adjust_lr_fn="original"`, Nesterov's momentum."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    alike[p.shape].append(p)
                    if not self.state[p]:
                        self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            for (rows, columns), matrices in alike.items():
                kept, grads = [self.state[p]["momentum_buffer"] for p in matrices], [p.grad for p in matrices]
                torch._foreach_lerp_(kept, grads, 1 - group["momentum"])
                updates = torch.stack(torch._foreach_lerp(grads, kept, group["momentum"]))
                updates = orthogonal(updates, group["ns_coefficients"], group["ns_steps"], group["eps"])
                torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
                factor = group["lr"] * max(1.0, rows / columns) ** 0.5
                torch._foreach_add_(matrices, list(updates.to(matrices[0].dtype).unbind()), alpha=-factor)
