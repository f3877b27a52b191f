"""Two or three command lines for each command, which stand at the end of its help."""

from __future__ import annotations

# By command; "" is `tada` itself. What each line does, and the line.
EXAMPLES: dict[str, dict[str, str]] = {
    "": {
        "Name what a clip shows, with the built-in model:": "tada classify clip.mp4",
        "Find what happens in a long video, and when:": "tada detect long.mp4",
        "Train a model on a folder of clips for each class:": "tada finetune --data clips -o runs/mine",
    },
    "classify": {
        "The camera's motion, in a table:": "tada classify clip.mp4",
        "A folder of videos into a CSV, that goes on after a stop:": "tada classify clips/ -o clips.csv --resume",
        "Actions, with weights that are fetched first:": "tada classify clip.mp4 --model tada2d_r50.k400_8x8 --fetch",
    },
    "detect": {
        "What happens when, as a page to look at:": "tada detect long.mp4 --report long.html",
        "Short windows, sure segments, as subtitles:": "tada detect long.mp4 --window 1s --threshold 0.6 -o long.srt",
        "With a model of your own:": "tada detect long.mp4 --model runs/mine --threshold auto",
    },
    "features": {
        "One file of features for each video:": "tada features videos/ -o features",
        "For a program that reads ActionFormer's layout:": "tada features videos/ -o features --layout actionformer",
    },
    "convert": {
        "Subtitles of what tada detect found:": "tada convert found.jsonl --to srt -o found.srt",
        "What was found, to be corrected in Label Studio:": "tada convert found.jsonl --to labelstudio -o tasks.json",
        "Labels of ELAN as a table to train with:": "tada convert labels.eaf --to csv -o labels.csv",
    },
    "clip": {
        "Each segment that was found as a video of its own:": "tada clip found.jsonl -o clips",
        "Half a second more at either side, and the middles:": "tada clip found.jsonl -o clips --pad 0.5s --images jpg",
        "All of them in one picture:": "tada clip found.jsonl --sheet found.jpg",
    },
    "collect": {
        "What workers have done, as lines of JSON:": "tada collect found.csv.run -o found.jsonl",
        "As a table with all columns:": "tada collect found.jsonl.run -o found.csv --columns all",
    },
    "suggest": {
        "What to label of what tada detect --save-scores kept:": "tada suggest scores/*.npz --report todo.html",
        "Ten more, beside what is labelled already:": "tada suggest scores/*.npz --budget 10 --labelled labels.json",
    },
    "eval": {
        "The built-in or your own model, a folder for each class:": "tada eval --dataset folder --data-root clips",
        "Saved detections, by the official measure:": "tada eval --dataset activitynet "
        "--annotations activity_net.json --predictions found.json",
    },
    "finetune": {
        "Look first; nothing is trained:": "tada finetune --data clips --dry-run",
        "Train on a folder of clips for each class:": "tada finetune --data clips -o runs/mine",
        "Find segments, from a table of labels:": "tada finetune --data labels.csv --task detection -o runs/mine",
    },
    "fetch": {
        "The weights of one model:": "tada fetch tada2d_r50.k400_8x8",
        "Say what would be done; ask no server:": "tada fetch --all --dry-run",
    },
    "models": {
        "Which models there are:": "tada models",
        "All that is known about one:": "tada models tada2d_r50.k400_8x8",
    },
    "export": {
        "The built-in model for onnxruntime:": "tada export -o camera.onnx",
        "Your own, proven on your own videos:": "tada export runs/mine -o mine.onnx --clips clips/",
        "For PyTorch, with nothing more to install:": "tada export runs/mine -o mine.pt2",
    },
    "doctor": {
        "Check this installation:": "tada doctor",
        "The same for a program:": "tada doctor --json",
    },
    "bench": {
        "How fast is this machine?": "tada bench",
        "Another model, on a video of your own:": "tada bench clip.mp4 --model tada2d_r50.k400_8x8 --batch-size 1,4",
    },
}


def examples_text(command: str) -> str:
    """The examples of a command as its help shows them: what each does, and its line, indented, below.

    Args:
        command: Name of the command, "" for `tada` itself.
    """
    return "\n".join(f"{what}\n  {line}" for what, line in EXAMPLES[command].items())
