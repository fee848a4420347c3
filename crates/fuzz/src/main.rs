//! `seeds` writes the starting corpora, `run TARGET SECONDS` mutates them for a while, `replay TARGET HEX` repeats a
//! finding. libFuzzer does more in the same time (`fuzz/`), but needs a nightly compiler.
#![allow(clippy::print_stdout, clippy::panic)]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use runnel_fuzz::mutate::{Random, mutate};
use runnel_fuzz::{TARGETS, Target, find};
use tokio::time::Instant;

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["seeds"] => TARGETS.iter().try_for_each(write_seeds),
        ["run", name, seconds] => run(find(name), Duration::from_secs(seconds.parse().unwrap_or(60))),
        ["replay", name, hex] => {
            (find(name).run)(&unhex(hex));
            Ok(())
        }
        _ => panic!("usage: seeds | run TARGET SECONDS | replay TARGET HEX"),
    }
}

fn folder(target: &Target) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target.name)
}

fn write_seeds(target: &Target) -> std::io::Result<()> {
    fs::create_dir_all(folder(target))?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(folder(target).join(format!("seed-{number:02}")), seed)?;
    }
    Ok(())
}

/// Mutates until the time is over. Prints the input that it runs only after a panic, so it writes that down first.
fn run(target: &'static Target, time: Duration) -> std::io::Result<()> {
    let corpus = fs::read_dir(folder(target))?.map(|entry| fs::read(entry?.path()));
    let mut inputs: Vec<Vec<u8>> = corpus.collect::<Result<_, _>>()?;
    let begun = Instant::now();
    let mut random = Random(std::process::id().into());
    let mut runs = 0u64;
    while begun.elapsed() < time {
        let (a, b) = (random.below(inputs.len()), random.below(inputs.len()));
        let input = mutate(&mut random, &inputs[a], &inputs[b]);
        if std::panic::catch_unwind(|| (target.run)(&input)).is_err() {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            println!("replay {} {hex}", target.name);
            return Ok(());
        }
        // Without coverage: now and then a mutation of a mutation.
        if runs.is_multiple_of(64) && inputs.len() < 4096 && input.len() < 1 << 16 {
            inputs.push(input);
        }
        runs += 1;
    }
    println!("{}: {runs} runs", target.name);
    Ok(())
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| u8::try_from(d).ok()).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
