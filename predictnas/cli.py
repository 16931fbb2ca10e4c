"""The command line: parsing and dispatch."""

import io
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from predictnas import __version__

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

benchmark = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Repeat an experiment over a label table.",
)
app.add_typer(benchmark, name="benchmark")

DEFAULT_STUDY = "sqlite:///predictnas.db"
INTERRUPTED = 130

SpaceName = Annotated[
    str,
    typer.Option("--space", help="See `predictnas spaces`; your own: FILE.py:CLASS, which is run."),
]
OwnSpace = Annotated[
    str | None, typer.Option("--space", help="The study's space, if it is your own: FILE.py:CLASS.")
]
TaskName = Annotated[str, typer.Option("--task", help="digits, or the path of an .npz file.")]
StudyUrl = Annotated[
    str, typer.Option("--study", help="Where the labels are: URL of an Optuna storage, #NAME.")
]
Trials = Annotated[int, typer.Option("--trials", min=1, help="Trials the study shall hold.")]
Labels = Annotated[
    str, typer.Option("--labels", help="Table file, name of a shipped table, or study URL#NAME.")
]
Transfer = Annotated[
    str | None,
    typer.Option("--transfer", help="Labels of another task, as --labels; or what fit wrote."),
]
TransferTarget = Annotated[
    str | None,
    typer.Option("--transfer-target", help="Column of the other task's labels; as --target."),
]
Pretrain = Annotated[
    str | None,
    typer.Option("--pretrain", help="Learn from unlabelled ones first: how many, or scores."),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=2**31 - 1, help="Seed of everything random.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, …")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="CPU threads; one for small images by default."),
]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON.")]
ArchSource = Annotated[
    str | None,
    typer.Option("--archs", help="Architectures: a file, one a line; a table; or a study's URL."),
]
Sample = Annotated[int | None, typer.Option("--sample", help="Draw so many at random.")]
Everything = Annotated[bool, typer.Option("--all", help="Take the whole space.")]
Proxies = Annotated[
    str | None, typer.Option("--proxies", help="Names of proxies, separated by commas.")
]
BatchSize = Annotated[int, typer.Option("--proxy-batch", min=2, help="Images a proxy sees.")]
Workers = Annotated[str, typer.Option("--workers", help="Processes: a number, or auto.")]
Dtype = Annotated[
    str | None,
    typer.Option("--dtype", help="Type to score in: float32, bfloat16 or float64."),
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Recipe: epochs of training.")]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="JSON file with entries of the recipe.")
]
Scale = Annotated[
    str | None, typer.Option("--scale", help="Recipe: network size, e.g. channels=16,cells=5.")
]
Timeout = Annotated[
    float | None, typer.Option("--time-limit", min=0.001, help="Seconds a candidate may train.")
]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"predictnas {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and exit.")
    ] = False,
) -> None:
    """Neural architecture search with predictors, zero-cost proxies and real training."""


@app.command()
def spaces(
    name: Annotated[
        str | None, typer.Argument(help="A space to show; your own: FILE.py:CLASS, which is run.")
    ] = None,
    json: JsonFile = None,
) -> None:
    """List search spaces, or show one: choices, size, an example."""
    from predictnas.display import show_space, show_spaces
    from predictnas.spaces import SPACES, get_space, load_space

    if name is None:
        show_spaces([get_space(each) for each in SPACES], json)
    else:
        show_space(load_space(name), json)


@app.command()
def label(
    space: SpaceName,
    task: TaskName = "digits",
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Labels the study shall hold.")
    ] = None,
    archs: ArchSource = None,
    known: Annotated[
        str | None,
        typer.Option(
            "--known", help="Labels to take up: a study's URL or what `import` made of it."
        ),
    ] = None,
    design: Annotated[
        str, typer.Option("--design", help="What chooses: random, diverse or uncertain.")
    ] = "random",
    batch: Annotated[
        int | None,
        typer.Option("--batch", min=1, help="uncertain: chosen from the labels so far at a time."),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option("--seeds", min=1, help="Labels an architecture: seed, seed + 1, and so on."),
    ] = 1,
    proxies: Annotated[
        str | None,
        typer.Option("--proxies", help="Proxies to keep with the labels, separated by commas."),
    ] = None,
    study: StudyUrl = DEFAULT_STUDY,
    seed: Seed = 0,
    epochs: Epochs = None,
    scale: Scale = None,
    recipe: RecipeFile = None,
    time_limit: Timeout = None,
    device: Device = "auto",
    workers: Workers = "auto",
    threads: Threads = None,
    json: JsonFile = None,
) -> None:
    """Train given or chosen architectures into a study; run again to go on."""
    from predictnas import arguments, running

    processes = arguments.parse_workers(workers)
    run = running.Run.load(space, task, recipe, epochs, scale, study, seed, device, threads)
    run.label(
        trials,
        archs,
        known=known,
        design=design,
        round_size=batch,
        seeds=seeds,
        proxies=arguments.names(proxies),
        workers=processes,
        threads=threads,
        time_limit=time_limit,
        json=json,
    )


@app.command()
def search(
    space: SpaceName,
    task: TaskName = "digits",
    trials: Trials = 60,
    searcher: Annotated[
        str, typer.Option("--searcher", help="bananas, random or tpe.")
    ] = "bananas",
    predictor: Annotated[
        str | None, typer.Option("--predictor", help="bananas: the surrogate; gp by default.")
    ] = None,
    acquisition: Annotated[
        str | None, typer.Option("--acquisition", help="bananas: ei (default) or ts.")
    ] = None,
    proxies: Annotated[
        str | None,
        typer.Option("--proxies", help="bananas: proxies, separated by commas, or none."),
    ] = None,
    warm_start: Annotated[
        int | None,
        typer.Option("--warm-start", min=1, help="bananas: trials before the surrogate."),
    ] = None,
    transfer: Transfer = None,
    transfer_target: TransferTarget = None,
    study: StudyUrl = DEFAULT_STUDY,
    seed: Seed = 0,
    epochs: Epochs = None,
    scale: Scale = None,
    recipe: RecipeFile = None,
    time_limit: Timeout = None,
    device: Device = "auto",
    threads: Threads = None,
    json: JsonFile = None,
) -> None:
    """Search, training candidates for real; run again to go on."""
    from predictnas import arguments, console, running
    from predictnas.knowledge import Knowledge
    from predictnas.predictors import get_predictor

    run = running.Run.load(space, task, recipe, epochs, scale, study, seed, device, threads)
    options = arguments.searcher_options(
        searcher, predictor, acquisition, proxies, warm_start, transfer
    )
    knowledge = Knowledge.read(
        run.space,
        transfer=transfer,
        transfer_target=transfer_target,
        seed=seed,
        on_step=console.say,
    )
    if knowledge.source is not None:
        options["predictor"] = knowledge.used_by(get_predictor(predictor or "gp"))
    run.search(trials, searcher, options, time_limit=time_limit, json=json)


@app.command()
def fit(
    space: SpaceName,
    labels: Labels,
    out: Annotated[Path, typer.Option("--out", help="File for the fitted predictor.")],
    target: Annotated[str, typer.Option("--target", help="Column to predict.")] = "valid_accuracy",
    predictor: Annotated[
        str, typer.Option("--predictor", help="auto, a stack of several, or one by name.")
    ] = "auto",
    features: Annotated[
        str,
        typer.Option(
            "--features",
            help="graph, proxies, all, columns, curve:5 or curve:25% for first epochs; by commas.",
        ),
    ] = "all",
    limit: Annotated[
        int | None, typer.Option("--limit", help="Use at most so many rows, drawn at random.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--tune", min=1, help="Try so many settings of the predictor.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="Folder that keeps what was tried; your own by default."),
    ] = None,
    transfer: Transfer = None,
    transfer_target: TransferTarget = None,
    pretrain: Pretrain = None,
    seed: Seed = 0,
    json: JsonFile = None,
) -> None:
    """Train a predictor on labels; print cross-validated correlation and calibration."""
    from predictnas import console, display, fitting, tuning
    from predictnas.knowledge import Knowledge
    from predictnas.predictors import save_predictor
    from predictnas.sources import read_label_source
    from predictnas.spaces import load_space
    from predictnas.tables import label_table

    console.check_outputs(out, json)
    frame = read_label_source(labels, curves=fitting.reads_curves(features))
    table = label_table(frame, load_space(space), target)
    knowledge = Knowledge.read(
        table.space,
        transfer=transfer,
        transfer_target=transfer_target,
        pretrain=pretrain,
        target=target,
        features=features,
        own=table,
        seed=seed,
        on_step=console.say,
    )
    with console.progress("cross-validating", 5 + (trials or 0)) as advance:
        fitted = fitting.fit_predictor(
            table,
            predictor,
            features=features,
            limit=limit,
            seed=seed,
            trials=trials,
            cache=cache or tuning.default_cache(),
            prepare=knowledge.used_by,
            on_trial=advance,
            on_fold=lambda *_: advance(),
        )
    metadata = {"space": table.space.name, "target": target, "columns": fitted.columns}
    save_predictor(fitted.predictor, out, metadata=metadata)
    display.show_fit(fitted, predictor, target, out, json)


@app.command()
def score(
    space: SpaceName,
    out: Annotated[Path, typer.Option("--out", help="Parquet or CSV file for the scores.")],
    task: TaskName = "digits",
    archs: ArchSource = None,
    sample: Sample = None,
    everything: Everything = False,
    proxies: Proxies = None,
    batch_size: BatchSize = 64,
    scale: Scale = None,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = None,
    workers: Workers = "auto",
    threads: Threads = None,
    json: JsonFile = None,
) -> None:
    """Compute zero-cost proxies of architectures at initialisation; run again to go on."""
    from predictnas import arguments, console, display, running
    from predictnas.scoring import score_to_file
    from predictnas.sources import architectures
    from predictnas.tables import table_suffix

    console.check_outputs(out, json)
    table_suffix(out)
    processes = arguments.parse_workers(workers)
    run = running.Run.load(space, task, None, None, scale, DEFAULT_STUDY, seed, device, threads)
    chosen = architectures(run.space, source=archs, sample=sample, everything=everything, seed=seed)
    scorer = run.scorer(
        arguments.names(proxies),
        batch_size,
        dtype=dtype,
        workers=processes,
        threads=threads,
        on_step=console.say,
    )
    table = score_to_file(scorer, chosen, out, on_step=console.say, progress=console.progress)
    display.show_scores(table, len(chosen), out, json, scorer.provenance())


@app.command()
def rank(
    space: SpaceName,
    archs: ArchSource = None,
    sample: Sample = None,
    everything: Everything = False,
    predictor: Annotated[
        Path | None, typer.Option("--predictor", help="A file that `predictnas fit` wrote.")
    ] = None,
    proxies: Proxies = None,
    scores: Annotated[
        Path | None, typer.Option("--scores", help="Table with proxy scores of the candidates.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many to show.")] = 10,
    out: Annotated[
        Path | None, typer.Option("--out", help="Parquet or CSV file for the whole ranking.")
    ] = None,
    task: TaskName = "digits",
    batch_size: BatchSize = 64,
    scale: Scale = None,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = None,
    workers: Workers = "auto",
    threads: Threads = None,
    json: JsonFile = None,
) -> None:
    """Rank candidates without training any: by a predictor, or by proxies alone."""
    from predictnas import arguments, console, display, ranking, running
    from predictnas.sources import architectures
    from predictnas.tables import table_suffix, write_table

    console.check_outputs(out, json)
    if out is not None:
        table_suffix(out)
    processes = arguments.parse_workers(workers)
    run = running.Run.load(space, task, None, None, scale, DEFAULT_STUDY, seed, device, threads)
    chosen = architectures(run.space, source=archs, sample=sample, everything=everything, seed=seed)
    names = arguments.names(proxies)
    if predictor is not None and names:
        raise typer.BadParameter("give --predictor or --proxies, not both")
    with console.progress("scoring", len(set(run.space.keys(chosen)))) as advance:
        table = ranking.rank_candidates(
            run.space,
            chosen,
            predictor=predictor,
            proxy_names=names,
            scores=scores,
            scorer=lambda wanted: run.scorer(
                wanted,
                batch_size,
                dtype=dtype,
                workers=processes,
                threads=threads,
                on_step=console.say,
            ),
            on_score=advance,
        )
    if out is not None:
        noted = {"space": run.space.name, "task": task, "seed": seed}
        write_table(table, out, metadata=noted)
    display.show_ranking(table, top, json)


@app.command()
def correlate(
    space: SpaceName = "nasbench201",
    labels: Labels = "digits201",
    target: Annotated[str, typer.Option("--target", help="Column that holds the truth.")] = (
        "valid_accuracy"
    ),
    scores: Annotated[
        list[Path] | None, typer.Option("--scores", help="Score files to join, by architecture.")
    ] = None,
    json: JsonFile = None,
) -> None:
    """Correlate every numeric column with the labels, with intervals."""
    from predictnas import console, display, ranking
    from predictnas.sources import read_label_source
    from predictnas.spaces import load_space

    console.check_outputs(json)
    frame = read_label_source(labels)
    results = ranking.correlate_columns(frame, load_space(space), target, scores or [])
    display.show_correlations(results, target, json)


@benchmark.command("predictors")
def benchmark_predictors(
    space: SpaceName = "nasbench201",
    labels: Labels = "digits201",
    target: Annotated[str, typer.Option("--target", help="Column to predict.")] = "valid_accuracy",
    sizes: Annotated[
        str, typer.Option("--sizes", help="Numbers of labels, separated by commas.")
    ] = "23,46,78,156,233,467",
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Training sets a size.")] = 10,
    predictors: Annotated[
        str, typer.Option("--predictors", help="Names of predictors, separated by commas.")
    ] = "auto",
    features: Annotated[
        str,
        typer.Option(
            "--features",
            help="graph, proxies, all, columns, curve:5 or curve:25% for first epochs; by commas.",
        ),
    ] = "all",
    complete: Annotated[
        bool,
        typer.Option("--complete", help="Leave out rows without all proxies in any case."),
    ] = False,
    design: Annotated[
        str, typer.Option("--design", help="Training sets: random, diverse or uncertain.")
    ] = "random",
    max_test: Annotated[
        int | None, typer.Option("--max-test", min=2, help="Test on at most so many.")
    ] = None,
    transfer: Transfer = None,
    transfer_target: TransferTarget = None,
    pretrain: Pretrain = None,
    seed: Seed = 0,
    workers: Workers = "auto",
    json: Annotated[
        Path | None, typer.Option("--json", help="File of the records; gone on with if there.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="SVG file for a figure.")] = None,
) -> None:
    """Repeat fits on random training sets, test on the rest; run again to go on."""
    from predictnas import arguments, benchmarking, console, display, fitting
    from predictnas.knowledge import Knowledge
    from predictnas.sources import read_label_source
    from predictnas.spaces import load_space
    from predictnas.tables import label_table

    console.check_outputs(json, plot)
    frame = read_label_source(labels, curves=fitting.reads_curves(features))
    table = label_table(frame, load_space(space), target)
    named = arguments.predictors(predictors)
    knowledge = Knowledge.read(
        table.space,
        transfer=transfer,
        transfer_target=transfer_target,
        pretrain=pretrain,
        target=target,
        features=features,
        own=table,
        seed=seed,
        on_step=console.say,
    )
    experiment = benchmarking.PredictorBenchmark(
        table,
        knowledge.variants(named),
        arguments.whole_numbers("--sizes", sizes),
        repeats,
        features=features,
        complete=complete,
        design=design,
        max_test=max_test,
        seed=seed,
    )
    file = benchmarking.run_benchmark(
        experiment,
        json,
        workers=arguments.parse_workers(workers),
        on_step=console.say,
        progress=console.progress,
    )
    display.show_benchmark(file, target, plot)


@app.command("import")
def import_table(
    format_name: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="nas-bench-suite-zero, nats-bench, nasbench101, csv, parquet or study.",
        ),
    ],
    source: Annotated[str, typer.Argument(metavar="FILE", help="A file, or a study's URL#NAME.")],
    out: Annotated[Path, typer.Option("--out", help="Parquet or CSV file for the label table.")],
    space: Annotated[
        str | None, typer.Option("--space", help="The space, where the source does not tell.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="One data set of several; all by default.")
    ] = None,
    arch_column: Annotated[
        str, typer.Option("--arch-column", help="csv, parquet: column of the architectures.")
    ] = "arch",
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", help="csv, parquet: NAME=COLUMN to take; all by default."),
    ] = None,
    units: Annotated[
        str, typer.Option("--units", help="csv, parquet: accuracies are in percent or fraction.")
    ] = "percent",
    licence: Annotated[
        str | None, typer.Option("--licence", help="Licence of the data, to note in the table.")
    ] = None,
    json: JsonFile = None,
) -> None:
    """Read a published benchmark, a table or a study into label tables, one a data set."""
    from predictnas import console, display, importing
    from predictnas.tables.importers import ImportOptions

    console.check_outputs(out, json)
    wanted = importing.read_columns(columns)
    options = ImportOptions(space, dataset, arch_column, wanted, units, licence)
    display.show_import(importing.import_tables(format_name, source, out, options), json)


@app.command()
def report(
    study: StudyUrl = DEFAULT_STUDY,
    out: Annotated[Path, typer.Option("--out", help="HTML file.")] = Path("report.html"),
    space: OwnSpace = None,
) -> None:
    """Write a self-contained HTML report of a study."""
    from predictnas import running

    running.report(study, out, space)


@app.command()
def export(
    study: StudyUrl = DEFAULT_STUDY,
    out: Annotated[Path, typer.Option("--out", help="Directory for the files.")] = Path("winner"),
    task: Annotated[
        str | None, typer.Option("--task", help="The study's task, where its file has moved.")
    ] = None,
    space: OwnSpace = None,
    device: Device = "auto",
    threads: Threads = None,
    json: JsonFile = None,
) -> None:
    """Retrain a study's winner and write it as .pt2, ONNX, state dict and Python source."""
    from predictnas import running

    running.export(study, out, task, device, threads, json, space)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors of use are one line on standard error and exit code 2."""
    import optuna

    import encoders
    import proxies
    from predictnas.errors import PredictNASError
    from predictnas.training.memory import keep_freed_memory

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # τ and ± on a terminal that lacks them
    # Optuna tells of every trial on its own; what the user should know stands in our lines.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    keep_freed_memory()
    try:
        code = app(arguments or sys.argv[1:] or ["--help"], standalone_mode=False)
    except (PredictNASError, encoders.EncodingError, proxies.ProxyError) as error:
        _fail(str(error))
    except typer.TyperException as error:
        _fail(error.format_message())
    except (KeyboardInterrupt, typer.Abort) as stop:
        if isinstance(stop.__cause__, EOFError):
            # Typer takes it for the end of what a terminal gives, from which no command reads.
            raise stop.__cause__ from None
        code = INTERRUPTED
    if code == INTERRUPTED:  # what Typer makes of an interrupt
        _fail("interrupted; run the same command again to go on", code=INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int = 2) -> Any:
    sys.stderr.write("predictnas: " + " ".join(message.split()) + "\n")
    sys.exit(code)
