//! The auxiliary classifier of evaluation networks, as layers.

use super::layer::{ConvShape, Layer, PoolShape};
use super::list::{LayerBuilder, LayerList, Value};
use crate::desc::{AuxTowerDesc, DescError, OpCatalog, Shape};

/// Channels inside the tower.
const INNER: [usize; 2] = [128, 768];

/// ReLU, average pool without padding, pointwise to 128, norm, ReLU, 2×2 convolution to 768, norm (where the description
/// has it), ReLU, mean of the pixels if there are several, linear. The builder says whether norms are affine.
pub(crate) fn lower_tower(
    tower: &AuxTowerDesc,
    x: Value,
    input: Shape,
    b: &mut LayerBuilder<'_>,
) -> Result<Value, DescError> {
    let pool = tower.pool();
    let [narrow, wide] = INNER;
    let second = ConvShape {
        kernel: [2, 2],
        ..ConvShape::new(narrow, wide, 1)
    };
    let (mut pixels, _) = pool.measure(&[input])?;
    pixels.channels = narrow;
    (pixels, _) = Layer::Conv(second).measure(&[pixels])?;
    let x = b.relu(x);
    let x = b.layer(pool, &[x]);
    let x = b.conv(x, ConvShape::new(tower.ch_in, narrow, 1));
    let x = b.norm(x, narrow);
    let x = b.relu(x);
    let mut x = b.conv(x, second);
    if tower.second_norm {
        x = b.norm(x, wide);
    }
    let mut x = b.relu(x);
    if (pixels.height, pixels.width) != (1, 1) {
        // So that the classifier is of one size on maps of all sizes.
        x = b.layer(Layer::GlobalMean, &[x]);
    }
    Ok(b.linear(x, wide, tower.n_classes))
}

impl AuxTowerDesc {
    /// The tower's first layer but for the ReLU.
    pub(crate) fn pool(&self) -> Layer {
        Layer::AvgPool {
            window: PoolShape::unpadded(self.window, self.stride),
            count_include_pad: false,
        }
    }

    /// The tower's layers on feature maps of shape `input`.
    ///
    /// # Errors
    /// The maps are too small for its pool or its second convolution.
    pub fn lower(&self, input: Shape, affine: bool) -> Result<LayerList, DescError> {
        // A tower has no ops inside that a catalogue would have to know.
        let catalog = OpCatalog::empty();
        let (mut b, x) = LayerBuilder::new(&catalog, 1, affine);
        let logits = lower_tower(self, x[0], input, &mut b)?;
        Ok(b.finish(logits))
    }
}
