"""The places in an encoder where adapters compute: hooks on the encoder's own modules, whose code stays as it is."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from understudy.adapters.layers.bottleneck import Bank, Bottleneck, bank_of, grouped
from understudy.adapters.route import Route
from understudy.models.structure.layers import base_model
from understudy.models.structure.sublayers import Sublayer, sublayers

PLACES = ("attention", "output")
"""The places in a block: after attention, and after the feed-forward part, where its output is."""
_PRODUCTS = ("product_adapters", "input_adapters")
"""The sites of a single product: on its output, and on its input."""


class AdapterSite(nn.Module):
    """The adapters at one sublayer of one block, or at one product, by name.

    Args:
        route: which of them compute.
        norm: the block's norm of this sublayer; None at a single product.
    """

    def __init__(self, route: Route, norm: nn.Module | None) -> None:
        super().__init__()
        self.adapters, self.norms = nn.ModuleDict(), nn.ModuleDict()
        self.reads: dict[str, str] = {}
        self.route = route
        self._norm = [norm]  # in a list: it is the encoder's module, and must not be saved twice
        self._seen: dict[int, Tensor] = {}
        self._banks: dict[str, tuple[list[int], Bank]] = {}

    def add(self, name: str, adapter: nn.Module, reads: str) -> None:
        """Place an adapter, or the fusion of several, here. It is called with what it reads, and gives what it adds.

        Args:
            reads: as in :class:`understudy.adapters.design.AdapterDesign`.
        """
        self.adapters[name], self.reads[name] = adapter, reads

    def add_norm(self, name: str) -> None:
        """Give an adapter a norm of its own, equal to the encoder's at first."""
        like: Any = self._norm[0]
        if getattr(like, "weight", None) is None:  # ModernBERT's first norm is none
            return
        own = nn.LayerNorm(like.weight.shape, eps=like.eps, bias=like.bias is not None)
        own.load_state_dict({name: value.detach().clone() for name, value in like.state_dict().items()})
        self.norms[name] = own.to(like.weight.device)

    def remove(self, name: str) -> None:
        """Take an adapter away."""
        for held in (self.adapters, self.norms):
            if name in held:
                del held[name]
        self.reads.pop(name, None)
        self._banks.clear()

    def see(self, states: Tensor) -> None:
        """Keep the sublayer's input, if an adapter reads it."""
        if self._any("input"):
            self._seen[_thread()] = states

    def after_sublayer(self, states: Tensor) -> Tensor:
        """The sublayer's output with what its adapters add, each of a stack reading what the one before it left."""
        seen = self._seen.pop(_thread(), None)
        for name in self.route.stack:
            if name in self.adapters and self.reads[name] != "norm":
                states = states + self.adapters[name](states if self.reads[name] == "sublayer" else seen)
        if self.route.numbers is not None:
            for reads, read in (("sublayer", states), ("input", seen)):
                if read is not None and self._any(reads):
                    states = self._mixed(reads, states, read)
        return states

    def after_sum(self, states: Tensor, *, normed: bool) -> Tensor:
        """The sum of the sublayer's output and input with what the adapters add that read it.

        Args:
            normed: whether a norm follows, which the adapters read.
        """
        for name in self.route.stack:
            if self.reads.get(name) == "norm":
                states = states + self.adapters[name](self.norm(states) if normed else states)
        if self._any("norm") and self.route.numbers is not None:
            states = self._mixed("norm", states, self.norm(states) if normed else states)
        return states

    def norm(self, states: Tensor, computed: Tensor | None = None) -> Tensor:
        """The norm of these states: the adapter's own if it has one, otherwise the encoder's.

        Args:
            computed: the encoder's, where it has been computed.
        """
        own = [name for name in self.route.stack if name in self.norms]
        if own:
            return self.norms[own[-1]](states)
        like: Any = self._norm[0]
        if computed is None:
            computed = type(like).forward(like, states)  # not called, which would run the hooks again
        mixed = [i for i, name in enumerate(self.route.names) if name in self.norms]
        if not mixed:
            return computed
        for i in mixed:
            held = (self.route.numbers == i)[:, None, None]  # type: ignore[index]
            computed = torch.where(held, self.norms[self.route.names[i]](states), computed)
        return computed

    def _any(self, reads: str) -> bool:
        return any(self.reads.get(name) == reads for name in (*self.route.stack, *self.route.names))

    def _mixed(self, reads: str, states: Tensor, read: Tensor) -> Tensor:
        """The states with what each row's own adapter adds: bottlenecks all at once, others one after another."""
        names, numbers = self.route.names, self.route.numbers
        assert numbers is not None
        here = {name: adapter for name, adapter in self.adapters.items() if self.reads[name] == reads}
        places = {name: i for i, name in enumerate(name for name in here if isinstance(here[name], Bottleneck))}
        if not places.keys().isdisjoint(names):
            bank = self._bank(reads, [here[name] for name in places])
            rows = torch.tensor([*(places.get(name, len(places)) for name in names), len(places)])
            states = states + grouped(read, bank, rows.to(numbers.device)[numbers])
        for i, name in enumerate(names):
            if name in here and name not in places:
                rows = (numbers == i).nonzero()[:, 0]
                states = states.index_add(0, rows, here[name](read[rows]))
        return states

    def _bank(self, reads: str, adapters: list[Any]) -> Bank:
        """The bank that holds the weights of these adapters; made anew where they are not, or no longer, parts of it."""
        known = self._banks.get(reads)
        if known is None or known[0] != _addresses(adapters):
            with torch.inference_mode(mode=False):
                bank = bank_of(adapters)
            known = self._banks[reads] = (_addresses(adapters), bank)
        return known[1]


def _addresses(adapters: list[Bottleneck]) -> list[int]:
    return [parameter.data_ptr() for adapter in adapters for parameter in adapter.parameters()]


def sites_of(model: Any) -> list[tuple[int, str, AdapterSite]]:
    """The sites of an encoder's sublayers, with layer and place; none before :func:`open_sites`."""
    found: list[tuple[int, str, AdapterSite]] = []
    for layer, parts in enumerate(sublayers(model)):
        for place in PLACES:
            site = getattr(parts.block, f"{place}_adapters", None)
            if isinstance(site, AdapterSite):
                found.append((layer, place, site))
    return found


def open_sites(model: Any) -> list[tuple[int, str, AdapterSite]]:
    """As :func:`sites_of`; they are made at the first call."""
    found = sites_of(model)
    if found:
        return found
    route = Route()
    for parts in sublayers(model):
        for place, part in zip(PLACES, (parts.attention, parts.feed_forward)):
            site = AdapterSite(route, part.norm)
            parts.block.add_module(f"{place}_adapters", site)
            _attach(site, part, parts.block if not parts.normed_after and place == "output" else None)
    return sites_of(model)


def product_sites(model: Any) -> list[tuple[int, str, AdapterSite]]:
    """The sites of single products of an encoder, with the product's layer and name."""
    names = {id(module): name for name, module in base_model(model).named_modules()}
    return [
        (layer, names[id(module)], site)
        for layer, parts in enumerate(sublayers(model))
        for module in parts.block.modules()
        for place in _PRODUCTS
        if isinstance(site := getattr(module, place, None), AdapterSite)
    ]


def open_product(product: nn.Linear, route: Route, *, on_input: bool) -> AdapterSite:
    """The site of a product's output, or of its input; it is made at the first call.

    Args:
        route: the encoder's.
    """
    place = _PRODUCTS[on_input]
    if not hasattr(product, place):
        site = AdapterSite(route, None)
        product.add_module(place, site)
        if on_input:
            product.register_forward_pre_hook(partial(_before_product, site))
        else:
            product.register_forward_pre_hook(partial(_see, site))
            product.register_forward_hook(partial(_after_sublayer, site))
    return getattr(product, place)


def _attach(site: AdapterSite, part: Sublayer, block: nn.Module | None) -> None:
    """Let a site compute whenever its sublayer does.

    Args:
        part: the sublayer.
        block: where the sum of a pre-norm block's last sublayer leaves it; None if a norm follows the sum.
    """
    part.entry.register_forward_pre_hook(partial(_see, site))
    part.exit.register_forward_hook(partial(_after_sublayer, site))
    if block is None:
        part.norm.register_forward_pre_hook(partial(_before_norm, site))
    else:
        block.register_forward_hook(partial(_after_block, site))
    part.norm.register_forward_hook(partial(_after_norm, site))


def _before_product(site: AdapterSite, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (site.after_sublayer(args[0]), *args[1:])


def _see(site: AdapterSite, module: nn.Module, args: tuple[Tensor, ...]) -> None:
    site.see(args[0])


def _after_sublayer(site: AdapterSite, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return site.after_sublayer(output)


def _before_norm(site: AdapterSite, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (site.after_sum(args[0], normed=True), *args[1:])


def _after_norm(site: AdapterSite, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return site.norm(args[0], output)


def _after_block(site: AdapterSite, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return site.after_sum(output, normed=False)


def _thread() -> int:
    """The thread that computes: two may answer with one model. While torch compiles there is one."""
    return 0 if torch.compiler.is_compiling() else threading.get_ident()
