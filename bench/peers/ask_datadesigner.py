"""DataDesigner (NeMo) on the same rows; it keeps row groups as Parquet.

`python ask_datadesigner.py URL ROWS.jsonl CONCURRENCY` prints how many verdicts it read.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

os.environ |= {"NEMO_TELEMETRY_ENABLED": "false", "DATA_DESIGNER_TELEMETRY": "0"}

import data_designer.config as dd  # the environment is read when it is imported
import pandas as pd
from data_designer.interface import DataDesigner

VERDICT = re.compile(r"\[\[(\d+)\]\]")


def main(url: str, rows: Path, at_once: int) -> int:
    """Ask about every row; gives how many verdicts were read."""
    asked = pd.read_json(rows, lines=True)
    with tempfile.TemporaryDirectory() as folder:
        provider = dd.ModelProvider(name="loopback", endpoint=url, api_key="none")
        model = dd.ModelConfig(
            alias="judge",
            model="judge",
            provider="loopback",
            skip_health_check=True,
            inference_parameters=dd.ChatCompletionInferenceParams(
                max_parallel_requests=at_once, temperature=0.0, max_tokens=1024
            ),
        )
        builder = dd.DataDesignerConfigBuilder(model_configs=[model])
        builder.with_seed_dataset(dd.DataFrameSeedSource(df=asked))
        builder.add_column(
            dd.LLMTextColumnConfig(
                name="said", model_alias="judge",
                system_prompt="{{ system }}", prompt="{{ user }}",
            )
        )  # fmt: skip
        designer = DataDesigner(artifact_path=folder, model_providers=[provider])
        designer.set_run_config(dd.RunConfig(otel_metrics_port=None))
        made = designer.create(builder, num_records=len(asked)).load_dataset()
        return sum(VERDICT.search(text) is not None for text in made["said"])


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
