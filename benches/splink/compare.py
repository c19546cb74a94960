#!/usr/bin/env python3
"""One CSV file through Splink (DuckDB) as a knowledgeable user would set it up, for comparison with `onefold resolve`.

    pip install splink
    compare.py RECORDS.csv OUT.csv [--threshold 0.95]

Writes record_id,profile_id and prints seconds by step. Measure both programs with /usr/bin/time -v, score both outputs with
one tool. Settings are chosen by the columns that the file has; nothing is taken from the truth.
"""
import argparse
import logging
import time

import pandas as pd
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

logging.getLogger("splink").setLevel(logging.ERROR)
parser = argparse.ArgumentParser()
parser.add_argument("records")
parser.add_argument("out")
parser.add_argument("--threshold", type=float, default=0.95)
arguments = parser.parse_args()
start = last = time.perf_counter()


def told(step):
    global last
    now = time.perf_counter()
    print(f"{step}: {now - last:.1f} s", flush=True)
    last = now


frame = pd.read_csv(arguments.records, dtype=str)
names = {"first_name": "given_name", "surname": "family_name", "dob": "birth_date", "postcode_fake": "postcode"}
frame = frame.rename(columns=names).drop(columns=["cluster_id", "full_name", "first_and_surname"], errors="ignore")
if "phone" in frame:
    # A national and an international writing of one number end alike.
    frame["phone"] = frame["phone"].str.replace(r"\D", "", regex=True).str[-9:]
for column in frame.columns.difference(["record_id"]):
    frame[column] = frame[column].str.strip().str.lower()
for column in ("email", "phone"):
    if column in frame:
        # What so many records hold is a placeholder, whoever wrote it.
        frame.loc[frame.groupby(column)[column].transform("size") > 20, column] = None
frame["unique_id"] = frame["record_id"]
has = [column for column in frame.columns if frame[column].notna().mean() > 0.02]
told("read")

comparisons, blocks = [], []
if "given_name" in has and "family_name" in has:
    comparisons.append(
        cl.ForenameSurnameComparison(
            "given_name", "family_name", forename_surname_concat_col_name="whole_name"
        )
    )
    frame["whole_name"] = frame["given_name"] + " " + frame["family_name"]
    blocks.append(block_on("given_name", "family_name"))
if "birth_date" in has:
    comparisons.append(cl.DateOfBirthComparison("birth_date", input_is_string=True))
    blocks += [block_on("birth_date", "substr(family_name, 1, 3)"), block_on("birth_date", "substr(given_name, 1, 3)")]
if "postcode" in has:
    comparisons.append(cl.PostcodeComparison("postcode"))
    blocks += [block_on("postcode", "family_name"), block_on("postcode", "given_name")]
for column in ("phone", "user_id", "loyalty_id", "tax_id"):
    if column in has:
        comparisons.append(cl.LevenshteinAtThresholds(column, 1))
        blocks.append(block_on(column))
if "email" in has:
    comparisons.append(cl.EmailComparison("email"))
    blocks.append(block_on("email"))
for column in ("city", "birth_place", "occupation"):
    if column in has:
        comparisons.append(cl.ExactMatch(column).configure(term_frequency_adjustments=True))
if "street" in has:
    comparisons.append(cl.JaroWinklerAtThresholds("street", [0.9]))

settings = SettingsCreator(
    link_type="dedupe_only",
    comparisons=comparisons,
    blocking_rules_to_generate_predictions=blocks,
    retain_intermediate_calculation_columns=False,
    retain_matching_columns=False,
)
linker = Linker(DuckDBAPI().register(frame), settings)
linker.training.estimate_probability_two_random_records_match(blocks[:2], recall=0.7)
linker.training.estimate_u_using_random_sampling(max_pairs=2e6)
trained = [block_on("given_name", "family_name")]
if "birth_date" in has:
    trained.append(block_on("birth_date"))
if "email" in has:
    trained.append(block_on("email"))
for rule in trained:
    linker.training.estimate_parameters_using_expectation_maximisation(rule)
told("trained")
pairs = linker.inference.predict(threshold_match_probability=arguments.threshold)
told("predicted")
clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(
    pairs, threshold_match_probability=arguments.threshold
).as_pandas_dataframe()
told("clustered")
clusters.rename(columns={"unique_id": "record_id", "cluster_id": "profile_id"})[["record_id", "profile_id"]].to_csv(
    arguments.out, index=False
)
told("written")
seconds = time.perf_counter() - start
print(f"all: {len(frame)} records in {seconds:.1f} s, {len(frame) / seconds:.0f} records/s")
