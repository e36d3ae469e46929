"""The forward and backward pass of fine-tuning a decoder of the Llama family, in few and large operations.

peft computes each adapted layer in eight small operations, casts between types around each, and autograd keeps what
each of them made. Here linear layers that share an input are one product, their adapters two more, and each piece has
its own backward pass, which gives gradients to peft's own parameters (LoRA: Hu et al. 2021, arXiv:2106.09685). Numbers
are those of the model's own type, sums in float32. Knows no examples and no optimizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

KEPT: Final = 2048  # tokens in a batch whose layers' values are kept for the backward pass: 1.5 GB of a small model
LOGITS: Final = 512  # tokens whose logits are in memory at once: 100 MB at 49,152 words
FAMILY: Final = ("llama", "mistral", "qwen2")


class PackedDecoder:
    """Computes the loss of batches that `training.lora.packed.collate` laid out, with a peft model's weights."""

    def __init__(self, model: Any, kept: int = KEPT) -> None:
        """`model` is a peft model with one adapter, which `computes`; its adapter's parameters get gradients.

        Of batches of more than `kept` tokens, layers are computed again in the backward pass, which needs less memory.
        """
        self._kept = kept
        inner = model.get_base_model()
        config = inner.config
        self._dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._epsilon = float(config.rms_norm_eps)
        self._embedding, self._rotary = inner.model.embed_tokens, inner.model.rotary_emb
        self._last_norm, self._head = inner.model.norm.weight, inner.lm_head.weight
        self._layers = [_Layer(layer) for layer in inner.model.layers]

    def loss(self, batch: dict[str, Any]) -> Tensor:
        """Return the mean negative log-likelihood of the batch's reply tokens, in nats."""
        with torch.autocast(self._head.device.type, enabled=False):
            return self._loss(batch)

    def _loss(self, batch: dict[str, Any]) -> Tensor:
        states = self.states(batch)[batch["read"]]
        parts = zip(states.split(LOGITS), batch["targets"].split(LOGITS), strict=True)
        if len(states) <= LOGITS:
            total = self._negative_log_likelihood(states, batch["targets"])
        else:
            total = sum(
                (checkpoint(self._negative_log_likelihood, *part, use_reentrant=False) for part in parts),
                start=states.new_zeros((), dtype=torch.float32),
            )
        return total / max(1, len(batch["targets"]))

    def states(self, batch: dict[str, Any]) -> Tensor:
        """Return the last hidden states, [tokens, hidden]."""
        x = self._embedding(batch["ids"]).detach()
        view = _View(batch, *(each[0] for each in self._rotary(x[None], batch["positions"][None])))
        for layer in self._layers:
            if len(x) > self._kept and torch.is_grad_enabled():
                x = checkpoint(self._layer, layer, x, view, use_reentrant=False)
            else:
                x = self._layer(layer, x, view)
        return self._norm(x, self._last_norm)

    def _negative_log_likelihood(self, states: Tensor, targets: Tensor) -> Tensor:
        logits = nn.functional.linear(states, self._head).float()
        return nn.functional.cross_entropy(logits, targets, reduction="sum")

    def _layer(self, layer: _Layer, x: Tensor, view: _View) -> Tensor:
        qkv = layer.qkv(self._norm(x, layer.before_attention))
        turned, v = qkv.split([(self._heads + self._kv_heads) * self._dim, self._kv_heads * self._dim], dim=1)
        qk: Tensor = _Rotate.apply(turned.unflatten(1, (-1, self._dim)), view.cos, view.sin)
        q, k = qk.split([self._heads, self._kv_heads], dim=1)
        x = x + layer.o(view.attend(q, k, v.unflatten(1, (-1, self._dim))).flatten(1))
        gated: Tensor = _Gate.apply(layer.gate_up(self._norm(x, layer.before_feed_forward)))
        return x + layer.down(gated)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        out: Tensor = _RmsNorm.apply(x, weight.detach(), self._epsilon)
        return out


class _Layer:
    def __init__(self, layer: Any) -> None:
        attention, feed_forward = layer.self_attn, layer.mlp
        self.before_attention, self.before_feed_forward = (
            layer.input_layernorm.weight,
            layer.post_attention_layernorm.weight,
        )
        self.qkv = _Linears(attention.q_proj, attention.k_proj, attention.v_proj)
        self.o = _Linears(attention.o_proj)
        self.gate_up = _Linears(feed_forward.gate_proj, feed_forward.up_proj)
        self.down = _Linears(feed_forward.down_proj)


class _Linears:
    """peft's adapted linear layers that share an input, as one."""

    def __init__(self, *layers: Any) -> None:
        wide = [len(layer.base_layer.weight) for layer in layers]
        self._weight = torch.cat([layer.base_layer.weight.detach() for layer in layers])
        for layer, own in zip(layers, self._weight.split(wide), strict=True):
            layer.base_layer.weight.data = own  # else they are in memory twice
        biases = [layer.base_layer.bias for layer in layers]
        self._bias = None
        if any(bias is not None for bias in biases):
            zeros = [self._weight.new_zeros(size) for size in wide]
            self._bias = torch.cat(
                [z if bias is None else bias.detach() for z, bias in zip(zeros, biases, strict=True)]
            )
        (name,) = layers[0].active_adapters
        self._down = [layer.lora_A[name].weight for layer in layers]
        self._up = [layer.lora_B[name].weight for layer in layers]
        self._scale = float(layers[0].scaling[name])

    def __call__(self, x: Tensor) -> Tensor:
        """Map `x`, [tokens, in], to [tokens, out of all layers]."""
        out: Tensor = _Adapted.apply(x, self._weight, self._bias, self._scale, len(self._down), *self._down, *self._up)
        return out


class _Adapted(torch.autograd.Function):
    """y = x Wᵀ + b + scale (x Aᵀ) Bᵀ, for layers side by side; gradients for x, each A and each B."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, scale: float, count: int, *adapters: Tensor
    ) -> Tensor:
        down = torch.cat(adapters[:count]).to(x.dtype)
        up = torch.block_diag(*adapters[count:]).to(x.dtype).mul_(scale)
        narrow = x @ down.T
        out = nn.functional.linear(x, weight, bias)
        out.addmm_(narrow, up.T)
        ctx.save_for_backward(x, weight, narrow, down, up)
        ctx.scale, ctx.shapes = scale, [each.shape for each in adapters]
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, weight, narrow, down, up = ctx.saved_tensors
        (grad,) = grads
        between = grad @ up
        back = None
        if ctx.needs_input_grad[0]:
            back = grad @ weight
            back.addmm_(between, down)
        shapes = ctx.shapes
        count = len(shapes) // 2
        downs = (between.T @ x).float().split([shape[0] for shape in shapes[:count]])
        ups, row, column = [], 0, 0
        full = (narrow.T @ grad).float().mul_(ctx.scale)
        for rows, columns in shapes[count:]:
            ups.append(full[column : column + columns, row : row + rows].T)
            row, column = row + rows, column + columns
        return back, None, None, None, None, *downs, *ups


class _RmsNorm(torch.autograd.Function):
    """Root mean square layer normalization (Zhang and Sennrich 2019, arXiv:1910.07467); the weight gets no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.to(torch.float32, copy=True)
        scale = wide.square().mean(-1, keepdim=True).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return wide.mul_(scale).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, weight, scale = ctx.saved_tensors
        grad = (grads[0] * weight).to(torch.float32)
        unit = x.to(torch.float32) * scale
        along = (grad * unit).mean(-1, keepdim=True)
        return grad.sub_(unit.mul_(along)).mul_(scale).to(x.dtype), None, None


class _Rotate(torch.autograd.Function):
    """The rotary position embedding (Su et al. 2021, arXiv:2104.09864) of [tokens, heads, dim]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        cos, sin = ctx.saved_tensors
        return _rotated(grads[0], cos, -sin), None, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of values by its position's angle; `cos` and `sin` are [tokens, dim / 2]."""
    left, right = x.chunk(2, dim=-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)


class _Gate(torch.autograd.Function):
    """silu(gate) * up, of both side by side."""

    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        ctx.save_for_backward(both)
        gate, up = both.chunk(2, dim=1)
        return nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (both,), (grad,) = ctx.saved_tensors, grads
        gate, up = both.chunk(2, dim=1)
        back = torch.empty_like(both)
        on = torch.sigmoid(gate)
        silu = gate * on
        torch.mul(grad, silu, out=back[:, silu.shape[1] :])
        slope = on.add_(silu - silu * on)
        torch.mul(slope.mul_(up), grad, out=back[:, : silu.shape[1]])
        return back


class _View:
    """How a batch's tokens attend to each other, and their angles."""

    def __init__(self, batch: dict[str, Any], cos: Tensor, sin: Tensor) -> None:
        half = cos.shape[-1] // 2
        self.cos, self.sin = cos[:, :half].contiguous(), sin[:, :half].contiguous()
        shared = batch["shared"]
        self.blocks = [_Block(batch["own"], batch["there"], shared, cos.dtype)]
        if shared:
            first = torch.arange(shared, device=cos.device)[None]
            self.blocks.append(_Block(first, torch.ones_like(first, dtype=torch.bool), 0, cos.dtype))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return what each token gathers, [tokens, heads, dim], from q, [tokens, heads, dim], and fewer k and v."""
        out: Tensor = _Attention.apply(q, k, v, self.blocks)
        return out


class _Block:
    """Sequences side by side, [sequences, longest], each after the batch's first `shared` tokens.

    What does not exist comes last in its sequence, so that no token sees it.
    """

    def __init__(self, at: Tensor, there: Tensor, shared: int, dtype: torch.dtype) -> None:
        self.shared, self.shape = shared, at.shape
        self.at = at.flatten()
        self.rows = there.flatten().nonzero().squeeze(1)  # of those side by side, the ones that exist
        self.missing = (~there).flatten().nonzero().squeeze(1)
        self.tokens = self.at[self.rows]
        longest = at.shape[1]
        later = torch.full((longest, longest), float("-inf"), dtype=dtype, device=at.device).triu_(1)
        self.mask = torch.cat([later.new_zeros(longest, shared), later], dim=1)  # added to scores

    def gather(self, x: Tensor) -> Tensor:
        """Return values of tokens, [tokens, heads, dim], as [sequences, heads, longest, dim]."""
        return self._side_by_side(x.index_select(0, self.at))

    def gather_gradient(self, x: Tensor) -> Tensor:
        """Return what `gather` does, with zeros for what does not exist."""
        return self._side_by_side(x.index_select(0, self.at).index_fill_(0, self.missing, 0.0))

    def _side_by_side(self, x: Tensor) -> Tensor:
        return x.view(*self.shape, *x.shape[1:]).transpose(1, 2)

    def scatter(self, x: Tensor, into: Tensor) -> None:
        """Add values of [sequences, heads, longest, dim] to those of the tokens that they belong to."""
        flat = x.transpose(1, 2).reshape(-1, *into.shape[1:])
        into.index_add_(0, self.tokens, flat if len(self.rows) == len(flat) else flat[self.rows])

    def keys(self, x: Tensor) -> Tensor:
        """Return `gather`'s values after those of the shared tokens, [sequences, heads, shared + longest, dim]."""
        if not self.shared:
            return self.gather(x)
        shared = x[: self.shared].transpose(0, 1).expand(self.shape[0], -1, -1, -1)
        return torch.cat([shared, self.gather(x)], dim=2)

    def scatter_keys(self, x: Tensor, into: Tensor) -> None:
        """Add what `keys` made to the tokens that it came from."""
        self.scatter(x[:, :, self.shared :], into)
        if self.shared:
            into[: self.shared] += x[:, :, : self.shared].sum(0).transpose(0, 1)


class _Attention(torch.autograd.Function):
    """Scaled dot-product attention with fewer key heads than query heads, by plain products and a softmax.

    Queries of one key head are side by side, so that keys are not repeated. On a CPU this is several times as fast
    as the fused kernel's backward pass, and the sequences are short.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, blocks: list[_Block]) -> Tensor:
        out = torch.zeros_like(q)
        q = q * q.shape[-1] ** -0.5
        saved: list[Tensor] = []
        for block in blocks:
            queries, keys, values = _grouped(block.gather(q), k.shape[1]), block.keys(k), block.keys(v)
            weights = _weights(queries, keys, block)
            block.scatter(_ungrouped(weights @ values, q.shape[1]), out)
            saved += [queries, keys, values, weights]
        ctx.save_for_backward(*saved)
        ctx.blocks, ctx.shapes = blocks, (q.shape, k.shape)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        wide, narrow = ctx.shapes
        to_q, to_k, to_v = grad.new_zeros(wide), grad.new_zeros(narrow), grad.new_zeros(narrow)
        saved = ctx.saved_tensors
        for i, block in enumerate(ctx.blocks):
            queries, keys, values, weights = saved[4 * i : 4 * i + 4]
            back = _grouped(block.gather_gradient(grad), narrow[1])
            block.scatter_keys(weights.transpose(-1, -2) @ back, to_v)
            scores = torch._softmax_backward_data(back @ values.transpose(-1, -2), weights, -1, weights.dtype)
            block.scatter(_ungrouped(scores @ keys, wide[1]), to_q)
            block.scatter_keys(scores.transpose(-1, -2) @ queries, to_k)
        return to_q.mul_(wide[-1] ** -0.5), to_k, to_v, None


def _grouped(x: Tensor, groups: int) -> Tensor:
    """Return [sequences, heads, longest, dim] as [sequences, groups, heads of one * longest, dim]."""
    count, heads, longest, dim = x.shape
    return x.reshape(count, groups, heads // groups * longest, dim)


def _ungrouped(x: Tensor, heads: int) -> Tensor:
    """Undo `_grouped`."""
    count, groups, rows, dim = x.shape
    return x.reshape(count, heads, rows * groups // heads, dim)


def _weights(queries: Tensor, keys: Tensor, block: _Block) -> Tensor:
    """Return how much each query gathers of each key; nothing of later ones."""
    count, groups, rows, _ = queries.shape
    longest, seen = block.mask.shape
    scores = queries @ keys.transpose(-1, -2)
    scores.view(count, groups, rows // longest, longest, seen).add_(block.mask)
    return torch.softmax(scores, dim=-1)


def computes(config: Any) -> bool:
    """Return whether `PackedDecoder` can compute a model of this configuration."""
    plain: Sequence[bool] = (
        config.model_type in FAMILY,
        getattr(config, "hidden_act", "silu") == "silu",
        not getattr(config, "use_sliding_window", False) or not getattr(config, "sliding_window", None),
        not (config.model_type == "mistral" and getattr(config, "sliding_window", None)),
    )
    return all(plain)
