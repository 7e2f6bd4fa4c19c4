//! `sinter eval`.

use std::process::ExitCode;

use sinter_training::{Asked, Generation, evaluator};

use crate::arguments::Eval;
use crate::commands::settings;
use crate::{Ending, Failure};

pub(crate) fn run(arguments: &Eval) -> Ending {
    let mut run = settings::open(&arguments.trained)?;
    let mut sample = run.config.sample.clone();
    // What an evaluation draws is its own: other seed, other portions.
    sample.seed = run.config.eval.seed;
    sample.batch = run.config.eval.batch;
    let sample = settings::sampling(&sample, &arguments.sampling)?;
    if let Some(n) = arguments.n {
        run.config.eval.n = n;
    }
    if !arguments.metrics.is_empty() {
        let metric = |text: &String| settings::component("--metric", text);
        run.config.eval.metrics = arguments.metrics.iter().map(metric).collect::<Result<_, _>>()?;
    }
    let problems = run.config.eval.validate();
    if !problems.is_empty() {
        return Err(Failure::Config(problems.into()));
    }
    let evaluator = evaluator(&run.config, &run.device)?
        .ok_or_else(|| Failure::Setting("the run's configuration names no metrics: give some with --metric".into()))?;

    let inference = run.method.inference(None);
    let denoiser = inference
        .denoiser()
        .ok_or_else(|| Failure::Setting(format!("{} does not generate images", arguments.trained.run.display())))?;
    let n = run.config.eval.n;
    let asked = Asked::every_class(run.source.as_ref(), n)?;
    let (batch, seed, guidance) = (sample.batch, sample.seed, sample.guidance);
    let generation = Generation { sampler: &sample.sampler, guidance, asked: &asked, n, batch, seed };
    let mut protocol = generation.protocol(denoiser)?;
    protocol.images = run.checkpoint.summary.images;
    protocol.weights = run.weights;
    let bar = indicatif::ProgressBar::new(n as u64);
    let samples = generation.run(denoiser, &run.conditioner, &run.device, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();

    let folder = arguments.trained.run.join("eval");
    for record in evaluator.evaluate(&samples, &protocol).map_err(|error| Failure::Other(error.to_string()))? {
        let interval = record.interval.map(|[low, high]| format!("  [{low:.4}, {high:.4}]")).unwrap_or_default();
        println!("{:<40} {:.4}{interval}", record.metric, record.value);
        for warning in &record.warnings {
            println!("    {warning}");
        }
        record.write(&folder, protocol.images).map_err(|error| Failure::Other(error.to_string()))?;
    }
    Ok(ExitCode::SUCCESS)
}
