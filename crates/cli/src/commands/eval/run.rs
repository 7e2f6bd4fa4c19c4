//! `sinter eval RUN`.

use sinter_evaluation::{Generated, Record};
use sinter_training::{Asked, Evaluated, Generation, evaluator, weights_hash};

use super::{done, metrics, tell, tell_range};
use crate::arguments::EvalRun;
use crate::commands::settings;
use crate::{Ending, Failure};

pub(super) fn run(arguments: &EvalRun) -> Ending {
    let mut run = settings::open(&arguments.trained)?;
    let eval = &mut run.config.eval;
    if let Some(n) = arguments.n {
        eval.n = n;
    }
    let given = metrics(&arguments.metrics)?;
    if !given.is_empty() {
        eval.metrics = given;
    }
    if let Some(statistics) = &arguments.reference {
        eval.reference_statistics = Some(statistics.clone());
    }
    let problems = eval.validate();
    if !problems.is_empty() {
        return Err(Failure::Config(problems.into()));
    }
    let mut sample = run.config.sample.clone();
    // What an evaluation draws is its own: other seed, other portions.
    sample.seed = run.config.eval.seed;
    sample.batch = run.config.eval.batch;
    let sample = settings::sampling(&sample, &arguments.sampling)?;
    let evaluator = evaluator(&run.config, &run.device)?
        .ok_or_else(|| Failure::Setting("the run's configuration names no metrics: give some with --metrics".into()))?;

    let inference = run.method.inference(None);
    let denoiser = inference
        .denoiser()
        .ok_or_else(|| Failure::Setting(format!("{} does not generate images", arguments.trained.run.display())))?;
    let model = Evaluated { denoiser, conditioner: &run.conditioner, device: &run.device };
    let generated = Generated {
        images: run.checkpoint.summary.images,
        weights: run.weights,
        weights_hash: weights_hash(run.method.as_ref(), None)?,
        data_hash: run.source.fingerprint(),
        ..Generated::default()
    };
    let n = run.config.eval.n;
    let asked = Asked::every_class(run.source.as_ref(), n)?;
    let folder = arguments.trained.run.join("eval");
    let seeds = if arguments.seeds.is_empty() { vec![sample.seed] } else { arguments.seeds.clone() };
    let mut all: Vec<Vec<Record>> = Vec::new();
    for &seed in &seeds {
        let (batch, guidance) = (sample.batch, sample.guidance);
        let generation = Generation { sampler: &sample.sampler, guidance, asked: &asked, n, batch, seed };
        let bar = indicatif::ProgressBar::new(n as u64);
        let records = model.measure(&evaluator, &generation, &generated, |done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        let mut name = generated.images.to_string();
        if seeds.len() > 1 {
            println!("seed {seed}");
            name += &format!("-seed-{seed}");
        }
        tell(&records, &folder, &name)?;
        all.push(records);
    }
    if seeds.len() > 1 {
        println!("{} seeds: mean [least, largest]", seeds.len());
        for (place, record) in all[0].iter().enumerate() {
            let values: Vec<f64> = all.iter().map(|records| records[place].value).collect();
            tell_range(&record.metric, &values)?;
        }
    }
    done()
}
