"""Measure how good a synthetic image is."""

from .metrics import METRICS, mae, ncc, psnr, ssim

__all__ = ["METRICS", "mae", "ncc", "psnr", "ssim"]
