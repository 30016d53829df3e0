//! The task of the tests: small pictures whose texture tells the class, made here and written as IDX files, so that they
//! come in through the settings like any data set.

use std::io::Write;
use std::path::Path;

use archai_data::rng::Key;
use archai_spec::settings::Dataset;

use crate::{
    error::EngineError,
    files::{FileError, write_atomically},
};

/// Height and width of the pictures.
const SIDE: u32 = 8;
/// Classes: lying stripes, standing stripes, a chequered board, plain grey.
const CLASSES: u32 = 4;

/// Writes `n_train` and `n_test` pictures into the folder, and gives the section that reads them.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn write_textures(
    dir: &Path,
    n_train: u32,
    n_test: u32,
) -> Result<Dataset, EngineError> {
    std::fs::create_dir_all(dir).map_err(|e| FileError::new("create the folder", dir, e))?;
    for (prefix, n) in [("train", n_train), ("t10k", n_test)] {
        let mut rng = Key::new(0).with("textures").with(prefix).rng();
        let (mut images, mut labels) = (idx(3, &[n, SIDE, SIDE]), idx(1, &[n]));
        for i in 0..n {
            let class = i % CLASSES;
            labels.push(class as u8);
            let phase = u32::from(rng.uniform_f64() < 0.5);
            for (y, x) in (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (y, x))) {
                let wave = match class {
                    0 => (y + phase) % 2,
                    1 => (x + phase) % 2,
                    2 => (x + y + phase) % 2,
                    _ => phase,
                };
                images.push((60.0 + 110.0 * f64::from(wave) + 50.0 * rng.uniform_f64()) as u8);
            }
        }
        for (what, bytes) in [("images-idx3", images), ("labels-idx1", labels)] {
            let path = dir.join(format!("{prefix}-{what}-ubyte"));
            write_atomically(&path, |out| out.write_all(&bytes))?;
        }
    }
    let base = Dataset::shipped("fashion_mnist_mini")
        .map_err(|errors| EngineError::Internal(errors.to_string()))?;
    Ok(Dataset {
        name: "textures".to_string(),
        format: "idx".to_string(),
        path: dir.display().to_string(),
        n_classes: CLASSES as usize,
        size: [SIDE as usize; 2],
        mean: vec![0.5],
        std: vec![0.25],
        crop_padding: 0,
        flip: false,
        ..base
    })
}

/// The header of an IDX file of bytes.
fn idx(rank: u8, dims: &[u32]) -> Vec<u8> {
    let dims = dims.iter().flat_map(|d| d.to_be_bytes());
    [0, 0, 8, rank].into_iter().chain(dims).collect()
}
