"""Put TAdaConv into a network of your own, and train it on clips whose frames differ in their order alone.

python examples/custom_network.py
"""

import torch
from torch import nn

from tadacli.models import add_tadaconv


def network_of_mine(num_classes: int) -> nn.Module:
    """A small network of pictures; any other will do, also one with 3-D convolutions."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, num_classes)),
    )


def clips_that_fade(num_clips: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Clips (B, 3, 8, 32, 32) of noise that grows darker or brighter, and which: 0 or 1. Only their order tells."""
    pictures = torch.rand(num_clips, 3, 1, 32, 32) * torch.linspace(0.2, 1, 8).view(1, 1, -1, 1, 1)
    ways = torch.arange(num_clips) % 2
    return torch.where(ways.view(-1, 1, 1, 1, 1) == 1, pictures, pictures.flip(2)), ways


def main() -> None:
    torch.manual_seed(0)
    network, report = add_tadaconv(network_of_mine(2))  # takes clips (B, C, T, H, W) now
    print(report)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for step in range(60):
        clips, ways = clips_that_fade(16)
        loss = nn.functional.cross_entropy(network(clips), ways)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 10 == 9:
            print(f"step {step + 1}: loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
