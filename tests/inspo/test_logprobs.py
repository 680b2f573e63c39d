"""Token log-probs against log-softmax over full logits; sequence sums by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from inspo.conditioning import Conditioning, LogpRequest, Role
from inspo.logprobs import by_request, sequence_logps, token_logps, without_final_eos
from inspo.pairs import PreferencePair
from inspo.prefix_tree import build_row

OPTIONS = [{}, {"logit_scale": 0.25}, {"softcap": 1.5}, {"logit_scale": 2.0, "softcap": 3.0}]
CHUNKS = [1, 3, 7, 100, None]


def problem(n=7, hidden_size=5, vocab=11, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, hidden_size, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(vocab, hidden_size, generator=generator, dtype=dtype, requires_grad=True)
    bias = torch.randn(vocab, generator=generator, dtype=dtype, requires_grad=True)
    labels = torch.randint(vocab, (n,), generator=generator)
    return hidden, weight, bias, labels


def full_logits(hidden, weight, labels, bias=None, logit_scale=1.0, softcap=None):
    """The definition, with all logits at once."""
    logits = torch.nn.functional.linear(hidden, weight, bias) * logit_scale
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    return torch.log_softmax(logits.double(), -1)[torch.arange(len(labels)), labels]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("chunk_size", CHUNKS)
@pytest.mark.parametrize("with_bias", [False, True])
def test_values_and_gradients_are_those_of_full_logits(options, chunk_size, with_bias):
    hidden, weight, bias, labels = problem()
    bias = bias if with_bias else None
    inputs = [tensor for tensor in (hidden, weight, bias) if tensor is not None]
    upstream = torch.linspace(-1, 2, len(labels), dtype=torch.float64)  # another gradient for each row
    actual = token_logps(hidden, weight, labels, bias=bias, chunk_size=chunk_size, **options)
    expected = full_logits(hidden, weight, labels, bias, **options)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(actual @ upstream, inputs),
        torch.autograd.grad(expected @ upstream, inputs),
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("options", OPTIONS)
def test_gradcheck_over_chunks(options):
    hidden, weight, bias, labels = problem(n=4, hidden_size=3, vocab=5)
    assert torch.autograd.gradcheck(
        lambda hidden, weight, bias: token_logps(hidden, weight, labels, bias=bias, chunk_size=3, **options),
        (hidden, weight, bias),
    )


@pytest.mark.parametrize("frozen", ["hidden", "weight", "bias"])
def test_a_frozen_input_gets_no_gradient_and_the_others_keep_theirs(frozen):
    hidden, weight, bias, labels = problem()
    inputs = {"hidden": hidden, "weight": weight, "bias": bias}
    expected = torch.autograd.grad(full_logits(hidden, weight, labels, bias).sum(), list(inputs.values()))
    inputs[frozen].requires_grad_(False)
    token_logps(hidden, weight, labels, bias=bias, chunk_size=3).sum().backward()
    for (name, tensor), gradient in zip(inputs.items(), expected, strict=True):
        if name == frozen:
            assert tensor.grad is None
        else:
            torch.testing.assert_close(tensor.grad, gradient)


def test_no_gradient_wanted_is_fine():
    hidden, weight, _, labels = problem()
    with torch.no_grad():
        assert not token_logps(hidden, weight, labels, chunk_size=2).requires_grad


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradients_under_checkpointing(use_reentrant):
    hidden, weight, _, labels = problem()
    expected = torch.autograd.grad(full_logits(hidden, weight, labels).sum(), [hidden, weight])

    def head(hidden: Tensor) -> Tensor:
        return token_logps(hidden, weight, labels, chunk_size=2)

    checkpoint(head, hidden, use_reentrant=use_reentrant).sum().backward()
    torch.testing.assert_close((hidden.grad, weight.grad), expected)


@pytest.mark.parametrize("chunk_size", [1, 1000])
def test_bfloat16_is_normalized_in_float32_and_summed_over_chunks_in_float32(chunk_size):
    """Only the projection is rounded to bfloat16: given its logits, log-probs are float32-exact."""
    hidden, weight, _, labels = (t.detach().bfloat16() if t.is_floating_point() else t for t in problem(512, 16, 301))
    actual = token_logps(hidden, weight, labels, chunk_size=chunk_size)
    logits = (hidden @ weight.T).double()
    expected = logits.log_softmax(-1)[torch.arange(512), labels]
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)

    weight.requires_grad_(True)
    token_logps(hidden, weight, labels, chunk_size=chunk_size).sum().backward()
    exact = weight.detach().double().requires_grad_(True)
    full_logits(hidden.double(), exact, labels).sum().backward()
    assert weight.grad.dtype == torch.bfloat16
    error = (weight.grad.double() - exact.grad).norm() / exact.grad.norm()
    assert error < 2**-7  # one rounding of logits, one of their gradient, one of the sum


@pytest.mark.parametrize("chunk_size", [3, 100])
def test_autocast_rounds_the_projection_only_and_returns_full_precision_gradients(chunk_size):
    hidden, weight, _, labels = problem(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = token_logps(hidden, weight, labels, chunk_size=chunk_size)
        under_autocast.sum().backward()
    expected = token_logps(hidden.detach().bfloat16(), weight.detach().bfloat16(), labels)
    torch.testing.assert_close(under_autocast, expected)
    assert hidden.grad.dtype == weight.grad.dtype == torch.float32


class _LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_tensor_of_all_rows_by_vocabulary_forward_or_backward(options, dtype):
    n, vocab, chunk_size = 64, 997, 8
    hidden, weight, bias, labels = (
        t.detach().to(dtype).requires_grad_() if t.is_floating_point() else t for t in problem(n, 4, vocab)
    )
    saved: list[int] = []
    pack = lambda tensor: saved.append(tensor.numel()) or tensor  # noqa: E731
    with _LargestTensor() as seen, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        token_logps(hidden, weight, labels, bias=bias, chunk_size=chunk_size, **options).sum().backward()
    assert chunk_size * vocab == seen.elements < n * vocab
    assert max(saved) == weight.numel()  # between the passes not even one chunk's logits are kept
    with _LargestTensor() as seen:
        full_logits(hidden, weight, labels).sum().backward()
    assert seen.elements == n * vocab  # the measurement sees what it must


def test_a_weight_that_is_gone_in_the_backward_pass_is_an_error():
    """ZeRO-3 empties a parameter outside its module's forward and backward."""
    hidden, weight, _, labels = problem()
    logps = token_logps(hidden, weight, labels, chunk_size=2)
    weight.data = torch.empty(0, dtype=weight.dtype)
    with pytest.raises(RuntimeError, match=r"\(11, 5\) forward and is \(0,\) backward: under ZeRO-3"):
        logps.sum().backward()


def test_extreme_logits_stay_finite():
    hidden = torch.tensor([[3e4], [-3e4]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0], [0.0]], requires_grad=True)
    logps = token_logps(hidden, weight, torch.tensor([0, 0]), chunk_size=1)
    assert logps.tolist() == [0.0, -6e4]
    logps.sum().backward()
    assert hidden.grad.isfinite().all()
    assert weight.grad.isfinite().all()


def test_no_rows_give_no_log_probs():
    _, weight, _, _ = problem()
    assert token_logps(torch.empty(0, 5, dtype=torch.float64), weight, torch.empty(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.tensor([0])}, "hidden, weight and labels must be"),
        ({"weight": torch.zeros(11, 4)}, "hidden, weight and labels must be"),
        ({"bias": torch.zeros(3)}, "bias must be"),
        ({"softcap": 0.0}, "softcap = 0.0 must be > 0"),
        ({"chunk_size": 0}, "chunk_size = 0 must be >= 1"),
    ],
)
def test_wrong_arguments_are_errors(change, message):
    hidden, weight, _, labels = problem()
    with pytest.raises(ValueError, match=message):
        token_logps(**({"hidden": hidden, "weight": weight, "labels": labels} | change))


def test_sums_lengths_and_means_by_hand():
    """Of tokens -1 -2 | -4 | -8 -16 -32 the sums are -3, -4, -56; the means -3/2, -4, -56/3."""
    logps = torch.tensor([-1.0, -2.0, -4.0, -8.0, -16.0, -32.0], dtype=torch.float64)
    result = sequence_logps(logps, [2, 1, 3])
    assert result.sums.tolist() == [-3, -4, -56]
    assert result.lengths.tolist() == [2, 1, 3]
    assert result.length_means.tolist() == [-1.5, -4, -56 / 3]


def test_masked_tokens_leave_sum_and_denominator():
    """Eq. (13). A masked log-prob of -inf must not reach the sum as 0 * inf = NaN, nor its gradient."""
    logps = torch.tensor([-1.0, -torch.inf, -3.0, -7.0], requires_grad=True)
    result = sequence_logps(logps, [3, 1], torch.tensor([True, False, True, True]))
    assert result.sums.tolist() == [-4, -7]
    assert result.lengths.tolist() == [2, 1]
    result.length_means.sum().backward()
    assert logps.grad.tolist() == [0.5, 0, 0.5, 1]


def test_sequence_sums_pass_gradcheck_and_deterministic_mode():
    logps = problem(n=6)[0][:, 0].detach().requires_grad_()
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.autograd.gradcheck(lambda logps: sequence_logps(logps, [2, 4]).sums, logps)
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_sequence_without_tokens_is_an_error_rather_than_a_nan():
    """trl#6548, #3382: truncation that leaves an empty response, and a loss that is NaN."""
    with pytest.raises(ValueError, match="sequence 1 has no token that counts"):
        sequence_logps(torch.zeros(2), [2, 0])
    with pytest.raises(ValueError, match="sequence 0 has no token that counts"):
        sequence_logps(torch.zeros(2), [1, 1], torch.tensor([False, True]))


def test_lengths_must_add_up():
    with pytest.raises(ValueError, match="lengths sum to 3 tokens"):
        sequence_logps(torch.zeros(2), [2, 1])
    with pytest.raises(ValueError, match="mask"):
        sequence_logps(torch.zeros(2), [2], torch.ones(1, dtype=torch.bool))


def test_only_a_final_end_of_turn_is_left_out():
    """Token 2 ends the first and third sequence; the second was cut; inside a sequence it counts."""
    labels = torch.tensor([5, 2, 2, 7, 8, 2])
    assert without_final_eos(labels, [3, 2, 1], [2, 3]).tolist() == [True, True, False, True, True, False]


def test_values_by_request_are_in_the_order_of_the_pairs():
    pairs = [PreferencePair([1], [2], [3]), PreferencePair([1], [4], [5])]
    row = build_row(pairs, Conditioning.NONE)
    assert [(target.pair, target.request.target) for target in row.targets] == [
        (0, Role.CHOSEN),
        (0, Role.REJECTED),
        (1, Role.CHOSEN),
        (1, Role.REJECTED),
    ]
    values = by_request(row.targets, torch.tensor([10.0, 20.0, 11.0, 21.0]))
    assert values[LogpRequest(Role.CHOSEN)].tolist() == [10, 11]
    assert values[LogpRequest(Role.REJECTED)].tolist() == [20, 21]
    with pytest.raises(ValueError, match="4 targets need as many values"):
        by_request(row.targets, torch.zeros(3))
