"""Another sampling rate, while the sound comes in.

Bandlimited interpolation: each sample of the new rate is the sum of those around its instant, weighted by a sinc under
a Kaiser window (J. O. Smith, "Digital Audio Resampling Home Page", ccrma.stanford.edu/~jos/resample). The ratio of the
rates is a fraction, so only so many different sets of weights (phases) are needed as its numerator.
"""

from math import ceil, gcd

import numpy

LOWEST, HIGHEST = 4_000, 192_000
"""Samples a second that can be had from or made into others: the weights of any two such rates fit into 50 MB."""
CROSSINGS = 32
"""Zero crossings of the sinc on either side, in samples of the lower rate."""
BETA = 8.0
"""Of the Kaiser window: what would be folded back is 80 dB lower (Oppenheim and Schafer, section 7.5.3)."""
CUTOFF = 0.92
"""The middle of the filter's slope, as a share of half of the lower rate; the slope ends below that half."""
AT_ONCE = 4_096
"""Samples that are made at once, which bounds the memory."""


class Resampler:
    """Takes sound of `rate` samples a second piece by piece, gives sound of `to`; both as float32, -1 to 1.

    The output has ceil(samples * to / rate) samples, the first at the instant of the first that came in; it lags behind
    by 32 samples of the lower rate.
    """

    def __init__(self, rate: int, to: int) -> None:
        divisor = gcd(rate, to)
        self._up, self._down = to // divisor, rate // divisor
        lower = min(1.0, to / rate)
        """The lower rate, in samples of the input."""
        self._half = ceil(CROSSINGS / lower)
        self._weights = _weights(self._up, self._half, lower) if rate != to else None
        self._held = numpy.zeros(self._half, numpy.float32)
        """Input that is still needed; it begins with silence."""
        self._came = self._made = self._dropped = 0
        """Samples in, samples out, and samples (with the silence) that are no longer held."""

    def take(self, samples: numpy.ndarray) -> numpy.ndarray:
        """The samples that can be made now."""
        samples = samples.astype(numpy.float32, copy=False)
        if self._weights is None:
            return samples
        self._came += len(samples)
        self._held = numpy.concatenate((self._held, samples))
        return self._make(self._came - self._half)

    def end(self) -> numpy.ndarray:
        """The samples that are left, after which silence would come."""
        if self._weights is None:
            return numpy.zeros(0, numpy.float32)
        self._held = numpy.concatenate((self._held, numpy.zeros(self._half + 1, numpy.float32)))
        return self._make(self._came)

    def _make(self, before: int) -> numpy.ndarray:
        """What lies before that sample of the input."""
        until = max(self._made, -(-before * self._up // self._down))
        windows = numpy.lib.stride_tricks.sliding_window_view(self._held, 2 * self._half) if until > self._made else ()
        made = []
        for start in range(self._made, until, AT_ONCE):
            place, phase = numpy.divmod(numpy.arange(start, min(until, start + AT_ONCE)) * self._down, self._up)
            made.append(numpy.einsum("ij,ij->i", windows[place + 1 - self._dropped], self._weights[phase]))
        self._made = until
        needless = max(0, self._made * self._down // self._up - self._dropped)
        self._held, self._dropped = self._held[needless:], self._dropped + needless
        return numpy.concatenate(made) if made else numpy.zeros(0, numpy.float32)


def _weights(phases: int, half: int, lower: float) -> numpy.ndarray:
    """For each phase those of the 2 * `half` input samples around an instant, which add up to 1."""
    weights = numpy.empty((phases, 2 * half), numpy.float32)
    for phase in range(phases):
        away = numpy.arange(1 - half, half + 1) - phase / phases
        window = numpy.i0(BETA * numpy.sqrt(numpy.maximum(0, 1 - (away / half) ** 2)))
        row = numpy.sinc(away * lower * CUTOFF) * window
        weights[phase] = row / row.sum()
    return weights


def to_pcm(samples: numpy.ndarray) -> bytes:
    """Floating point, -1 to 1, as 16 bits, little-endian; what is louder is clipped."""
    return numpy.clip(numpy.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()
