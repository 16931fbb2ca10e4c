"""A hierarchical space: motifs of motifs of operations, after the hierarchical NAS-Bench-201."""

from collections.abc import Mapping
from types import MappingProxyType

from predictnas.spaces.grammar import Grammar
from predictnas.spaces.grammar_space import GrammarSpace
from predictnas.spaces.motifs import ADD, DOWN, Edges

__all__ = ["Hierarchical"]


class Hierarchical(GrammarSpace):
    """Networks of stages of blocks of operations, derived by a context-free grammar.

    On the highest level a network has three or four stages in sequence, of which two halve height
    and width and double the channels (``DOWN``). A stage is one or two blocks, perhaps with a
    residual path. On the level below, a block is one of five motifs of operations, and on the
    lowest there are three convolutions, average pooling, the identity, and on the shortcuts of a
    ``Cell`` zero. The levels and the rules for ``NETWORK`` and ``DOWN`` are those of Schrodi et
    al., with one level less and without their choices within a block of convolution, so that
    graphs have at most 70 nodes and an architecture 69 choices.

    A ``Cell`` is one of NAS-Bench-201, its edges in the order 0->1, 0->2, 1->2, 0->3, 1->3, 2->3,
    of which 0->1->2->3 are never zero: so every network leads from the input to the output. There
    are 1.47e36 derivations.

    The network has ``channels`` channels before the first ``down``. A class derived from this one
    can declare another `grammar` over the same operations, with `motifs` of its own.

    References
    ----------
    H. Liu, K. Simonyan, O. Vinyals, C. Fernando, K. Kavukcuoglu. Hierarchical representations for
    efficient architecture search. ICLR 2018 (arXiv:1711.00436). S. Schrodi, D. Stoll, B. Ru, R.
    Sukthanker, T. Brox, F. Hutter. Construction of hierarchical neural architecture search spaces
    based on context-free grammars. NeurIPS 2023 (arXiv:2211.01842).

    Examples
    --------
    >>> space = Hierarchical()
    >>> f"{space.size:.2e}"
    '1.47e+36'
    >>> space.choices["STAGE_1"]
    ('BLOCK', 'Sequential2(BLOCK, BLOCK)', 'Residual2(BLOCK, BLOCK, id)')
    >>> class Chains(Hierarchical):
    ...     grammar = Grammar("NET -> Sequential2(OP, NARROW) "
    ...                       "NARROW -> Sequential2(OP, down) | Residual2(OP, down, down) "
    ...                       "OP -> conv3x3 | avg_pool | id")
    >>> Chains().size
    18
    >>> Chains().graph(Chains().parse("Sequential2(id, Residual2(conv3x3, down, down))"))
    ArchGraph(operations=('input', 'conv3x3', 'down', 'down', 'add', 'output'), \
edges=((0, 1), (0, 3), (1, 2), (2, 4), (3, 4), (4, 5)))
    """

    name = "hierarchical"
    grammar = Grammar(
        """
        NETWORK -> Sequential3(DOWN, DOWN, STAGE)
                 | Sequential3(STAGE, DOWN, DOWN)
                 | Sequential4(DOWN, DOWN, STAGE, STAGE)
        DOWN    -> Sequential2(BLOCK, down)
                 | Sequential3(BLOCK, BLOCK, down)
                 | Residual2(BLOCK, down, down)
        STAGE   -> BLOCK | Sequential2(BLOCK, BLOCK) | Residual2(BLOCK, BLOCK, id)
        BLOCK   -> Sequential2(OP, OP)
                 | Sequential3(OP, OP, OP)
                 | Residual2(OP, OP, OP)
                 | Diamond2(OP, OP, OP, OP)
                 | Cell(OP, SHORTCUT, OP, SHORTCUT, SHORTCUT, OP)
        OP       -> conv3x3 | conv1x1 | dconv3x3 | avg_pool | id
        SHORTCUT -> zero | conv3x3 | conv1x1 | dconv3x3 | avg_pool | id
        """
    )
    motifs: Mapping[str, Edges] = MappingProxyType(
        {
            "Sequential2": ((0, 1), (1, 2)),
            "Sequential3": ((0, 1), (1, 2), (2, 3)),
            "Sequential4": ((0, 1), (1, 2), (2, 3), (3, 4)),
            "Residual2": ((0, 1), (1, 2), (0, 2)),
            "Diamond2": ((0, 1), (0, 2), (1, 3), (2, 3)),
            "Cell": ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)),
        }
    )
    operations = ("conv3x3", "conv1x1", "dconv3x3", "avg_pool", DOWN, ADD)
    default_scale: Mapping[str, int] = MappingProxyType({"channels": 8})
    network = "HierarchicalNetwork"
