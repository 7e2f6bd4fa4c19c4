//! `sinter sample`.

use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;

use npyz::WriterBuilder;
use sinter_evaluation::Samples;
use sinter_training::logging::grid;
use sinter_training::{Asked, Generation, Run};

use crate::arguments::Sample;
use crate::commands::settings;
use crate::{Ending, Failure};

pub(crate) fn run(arguments: &Sample) -> Ending {
    let run = settings::open(&arguments.trained)?;
    let config = settings::sampling(&run.config.sample, &arguments.sampling)?;
    let inference = run.method.inference(None);
    let denoiser = inference
        .denoiser()
        .ok_or_else(|| Failure::Setting(format!("{} does not generate images", arguments.trained.run.display())))?;
    let asked = asked(arguments, &run)?;
    let (n, batch, seed) = (arguments.n, config.batch, config.seed);
    let (sampler, guidance) = (&config.sampler, config.guidance);
    let generation = Generation { sampler, guidance, asked: &asked, n, batch, seed };
    if arguments.plan {
        print!("{}", generation.plan(denoiser)?);
        return Ok(ExitCode::SUCCESS);
    }

    let bar = indicatif::ProgressBar::new(n as u64);
    let samples = generation.run(denoiser, &run.conditioner, &run.device, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();

    fs::create_dir_all(&arguments.out)?;
    let path = arguments.out.join("grid.png");
    grid::write(&path, &samples.pixels, samples.shape).map_err(|error| Failure::Other(error.to_string()))?;
    println!("{}", path.display());
    if arguments.npz {
        println!("{}", write_npz(&arguments.out, &samples)?);
    } else if samples.shape[1] != 2 {
        let [_, c, h, w] = samples.shape;
        for (i, pixels) in samples.pixels.chunks(c * h * w).enumerate() {
            let path = arguments.out.join(format!("{i:06}.png"));
            grid::write_image(&path, pixels, [c, h, w]).map_err(|error| Failure::Other(error.to_string()))?;
        }
        println!("{}/000000.png ...", arguments.out.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// What the command line asks for, or every class in turn.
fn asked(arguments: &Sample, run: &Run) -> Result<Asked, Failure> {
    let mut asked = Asked::every_class(run.source.as_ref(), arguments.n)?;
    if let Some(class) = &arguments.class {
        let names = run.source.class_names();
        let number = names.iter().position(|name| name == class).or_else(|| class.parse().ok());
        let number = number.filter(|&number| number < names.len()).ok_or_else(|| {
            let hint = sinter_config::nearest(class, names.iter().map(String::as_str));
            let hint = hint.map_or_else(
                || format!("classes 0 to {}", names.len().max(1) - 1),
                |name| format!("did you mean `{name}`?"),
            );
            Failure::Setting(format!("--class {class}: no such class; {hint}"))
        })?;
        asked.classes = vec![number as u32];
    }
    if let Some(caption) = &arguments.caption {
        if run.source.vocabulary().is_empty() {
            return Err(Failure::Setting("--caption: this run was trained without captions".into()));
        }
        asked.captions = vec![caption.clone()];
    }
    Ok(asked)
}

/// `samples.npz` in ADM's layout: `arr_0` uint8 `[n, h, w, c]`, `arr_1` int64 labels where there are classes.
fn write_npz(folder: &Path, samples: &Samples) -> Result<String, Failure> {
    let path = folder.join("samples.npz");
    let [n, c, h, w] = samples.shape;
    let mut archive = npyz::npz::NpzWriter::new(File::create(&path)?);
    let options = npyz::zip::write::FileOptions::default();
    let shape = [n as u64, h as u64, w as u64, c as u64];
    let mut array = archive.array("arr_0", options)?.default_dtype().shape(&shape).begin_nd()?;
    for image in samples.pixels.chunks(c * h * w) {
        for pixel in 0..h * w {
            for channel in 0..c {
                array.push(&sinter_data::transform::to_byte(image[channel * h * w + pixel]))?;
            }
        }
    }
    array.finish()?;
    if let Some(classes) = &samples.classes {
        let mut array = archive.array("arr_1", options)?.default_dtype().shape(&[n as u64]).begin_nd()?;
        for &class in classes {
            array.push(&i64::from(class))?;
        }
        array.finish()?;
    }
    Ok(path.display().to_string())
}
