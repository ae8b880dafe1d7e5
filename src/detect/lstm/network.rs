//! The network: two LSTM cells (Hochreiter & Schmidhuber 1997) and a linear output, with their analytic gradient.
//!
//! Everything is `f32` and lies in one flat vector of parameters, so that the optimiser and the model file see numbers
//! only. Rows of a weight matrix belong to inputs: the inner loops run along the gates, which is contiguous.

use serde::{Deserialize, Serialize};

/// Gates of a cell, in the order input, forget, candidate, output.
const GATES: usize = 4;

/// Sizes of a network; they fix where each parameter lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Values of a row.
    pub width: usize,
    /// Hidden units of each cell.
    pub hidden: usize,
    /// Rows of a window.
    pub steps: usize,
}

/// Where the parameters of each part begin.
struct Layout {
    encoder: usize,
    encoder_bias: usize,
    decoder: usize,
    decoder_bias: usize,
    output: usize,
    output_bias: usize,
    end: usize,
}

impl Sizes {
    const fn layout(self) -> Layout {
        let gates = GATES * self.hidden;
        let encoder_bias = (self.width + self.hidden) * gates;
        let decoder = encoder_bias + gates;
        let decoder_bias = decoder + 2 * self.hidden * gates;
        let output = decoder_bias + gates;
        let output_bias = output + self.hidden * self.width;
        Layout {
            encoder: 0,
            encoder_bias,
            decoder,
            decoder_bias,
            output,
            output_bias,
            end: output_bias + self.width,
        }
    }

    /// Number of parameters.
    pub const fn parameters(self) -> usize {
        self.layout().end
    }

    /// Parameters to begin with: weights of variance 1 ÷ inputs from `normal`, forget gates open.
    pub(super) fn begin(self, mut normal: impl FnMut() -> f32) -> Vec<f32> {
        let Layout { encoder_bias, decoder, decoder_bias, output, output_bias, end, .. } = self.layout();
        let mut parameters = vec![0.0; end];
        for (component, inputs) in [
            (0..encoder_bias, self.width + self.hidden),
            (decoder..decoder_bias, 2 * self.hidden),
            (output..output_bias, self.hidden),
        ] {
            let scale = (inputs as f32).sqrt().recip();
            parameters[component].iter_mut().for_each(|weight| *weight = normal() * scale);
        }
        for bias in [encoder_bias, decoder_bias] {
            parameters[bias + self.hidden..][..self.hidden].fill(1.0);
        }
        parameters
    }
}

/// What a pass through the network leaves behind; buffers are reused.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    encoder: Course,
    decoder: Course,
    /// What the decoder's every step gets from the code: it is the same each time.
    driven: Vec<f32>,
    /// The reconstruction, `steps × width`.
    pub output: Vec<f32>,
}

/// The course of one cell over a window, row-major.
#[derive(Clone, Debug, Default)]
struct Course {
    /// After their activations, `steps × 4 hidden`.
    gates: Vec<f32>,
    /// `(steps + 1) × hidden`; the first row is 0.
    cell: Vec<f32>,
    /// tanh of the cell, `steps × hidden`.
    bent: Vec<f32>,
    /// `(steps + 1) × hidden`; the first row is 0.
    hidden: Vec<f32>,
}

impl Course {
    fn clear(&mut self, sizes: Sizes) {
        let Sizes { hidden, steps, .. } = sizes;
        for (component, length) in [
            (&mut self.gates, steps * GATES * hidden),
            (&mut self.cell, (steps + 1) * hidden),
            (&mut self.bent, steps * hidden),
            (&mut self.hidden, (steps + 1) * hidden),
        ] {
            component.clear();
            component.resize(length, 0.0);
        }
    }

    /// Takes one step from the sums at the gates, which lie in `gates` already.
    fn step(&mut self, at: usize, hidden: usize) {
        let gates = &mut self.gates[at * GATES * hidden..][..GATES * hidden];
        let (inside, candidate_out) = gates.split_at_mut(2 * hidden);
        let (candidate, out) = candidate_out.split_at_mut(hidden);
        inside.iter_mut().for_each(|x| *x = sigmoid(*x));
        candidate.iter_mut().for_each(|x| *x = tanh(*x));
        out.iter_mut().for_each(|x| *x = sigmoid(*x));
        let (input, forget) = inside.split_at(hidden);
        let (before, now) = self.cell[at * hidden..][..2 * hidden].split_at_mut(hidden);
        let bent = &mut self.bent[at * hidden..][..hidden];
        let shown = &mut self.hidden[(at + 1) * hidden..][..hidden];
        for unit in 0..hidden {
            now[unit] = forget[unit] * before[unit] + input[unit] * candidate[unit];
            bent[unit] = tanh(now[unit]);
            shown[unit] = out[unit] * bent[unit];
        }
    }

    /// From the gradient at a step's hidden state and cell to that at the sums of its gates; `of_cell` becomes that of
    /// the step before.
    fn step_back(
        &self,
        at: usize,
        hidden: usize,
        of_hidden: &[f32],
        of_cell: &mut [f32],
        of_sums: &mut [f32],
    ) {
        let gates = &self.gates[at * GATES * hidden..][..GATES * hidden];
        let before = &self.cell[at * hidden..][..hidden];
        let bent = &self.bent[at * hidden..][..hidden];
        for unit in 0..hidden {
            let [input, forget, candidate, out] =
                [0, 1, 2, 3].map(|effect_filter| gates[effect_filter * hidden + unit]);
            let cell = of_cell[unit] + of_hidden[unit] * out * (1.0 - bent[unit] * bent[unit]);
            of_sums[unit] = cell * candidate * input * (1.0 - input);
            of_sums[hidden + unit] = cell * before[unit] * forget * (1.0 - forget);
            of_sums[2 * hidden + unit] = cell * input * (1.0 - candidate * candidate);
            of_sums[3 * hidden + unit] = of_hidden[unit] * bent[unit] * out * (1.0 - out);
            of_cell[unit] = cell * forget;
        }
    }
}

/// Reconstructs `window` (`steps × width`) into `pass.output`.
pub(super) fn reconstruct(sizes: Sizes, parameters: &[f32], window: &[f32], pass: &mut Pass) {
    let Sizes { width, hidden, steps } = sizes;
    let layout = sizes.layout();
    let gates = GATES * hidden;
    pass.encoder.clear(sizes);
    pass.decoder.clear(sizes);
    let encoder = &parameters[layout.encoder..layout.encoder_bias];
    let bias = &parameters[layout.encoder_bias..layout.decoder];
    for at in 0..steps {
        let course = &mut pass.encoder;
        let sums = &mut course.gates[at * gates..][..gates];
        sums.copy_from_slice(bias);
        add_product(sums, &window[at * width..][..width], &encoder[..width * gates]);
        add_product(sums, &course.hidden[at * hidden..][..hidden], &encoder[width * gates..]);
        course.step(at, hidden);
    }
    let decoder = &parameters[layout.decoder..layout.decoder_bias];
    pass.driven.clear();
    pass.driven.extend_from_slice(&parameters[layout.decoder_bias..layout.output]);
    add_product(&mut pass.driven, &pass.encoder.hidden[steps * hidden..], &decoder[..hidden * gates]);
    pass.output.clear();
    for at in 0..steps {
        let course = &mut pass.decoder;
        let sums = &mut course.gates[at * gates..][..gates];
        sums.copy_from_slice(&pass.driven);
        add_product(sums, &course.hidden[at * hidden..][..hidden], &decoder[hidden * gates..]);
        course.step(at, hidden);
        pass.output.extend_from_slice(&parameters[layout.output_bias..]);
        add_product(
            &mut pass.output[at * width..],
            &course.hidden[(at + 1) * hidden..][..hidden],
            &parameters[layout.output..layout.output_bias],
        );
    }
}

/// Gradients on the way back; buffers are reused.
#[derive(Clone, Debug, Default)]
pub(super) struct Back {
    hidden: Vec<f32>,
    cell: Vec<f32>,
    sums: Vec<f32>,
    code: Vec<f32>,
}

/// Adds the gradient of the loss to `gradient`, given that at the output (`steps × width`) and the pass that led there.
pub(super) fn gradient(
    sizes: Sizes,
    parameters: &[f32],
    window: &[f32],
    pass: &Pass,
    of_output: &[f32],
    back: &mut Back,
    gradient: &mut [f32],
) {
    let Sizes { width, hidden, steps } = sizes;
    let layout = sizes.layout();
    let gates = GATES * hidden;
    for component in [&mut back.hidden, &mut back.cell, &mut back.code] {
        component.clear();
        component.resize(hidden, 0.0);
    }
    back.sums.clear();
    back.sums.resize(gates, 0.0);
    let decoder = &parameters[layout.decoder..layout.decoder_bias];
    let output = &parameters[layout.output..layout.output_bias];
    for at in (0..steps).rev() {
        let of_row = &of_output[at * width..][..width];
        let shown = &pass.decoder.hidden[(at + 1) * hidden..][..hidden];
        add(&mut gradient[layout.output_bias..], of_row);
        add_outer(&mut gradient[layout.output..layout.output_bias], shown, of_row);
        add_product_transposed(&mut back.hidden, of_row, output);
        pass.decoder.step_back(at, hidden, &back.hidden, &mut back.cell, &mut back.sums);
        add(&mut gradient[layout.decoder_bias..layout.output], &back.sums);
        let (of_driven, of_recurrent) =
            gradient[layout.decoder..layout.decoder_bias].split_at_mut(hidden * gates);
        add_outer(of_driven, &pass.encoder.hidden[steps * hidden..], &back.sums);
        add_outer(of_recurrent, &pass.decoder.hidden[at * hidden..][..hidden], &back.sums);
        add_product_transposed(&mut back.code, &back.sums, &decoder[..hidden * gates]);
        back.hidden.fill(0.0);
        add_product_transposed(&mut back.hidden, &back.sums, &decoder[hidden * gates..]);
    }
    let encoder = &parameters[layout.encoder..layout.encoder_bias];
    back.hidden.copy_from_slice(&back.code);
    back.cell.fill(0.0);
    for at in (0..steps).rev() {
        pass.encoder.step_back(at, hidden, &back.hidden, &mut back.cell, &mut back.sums);
        add(&mut gradient[layout.encoder_bias..layout.decoder], &back.sums);
        let (of_input, of_recurrent) =
            gradient[layout.encoder..layout.encoder_bias].split_at_mut(width * gates);
        add_outer(of_input, &window[at * width..][..width], &back.sums);
        add_outer(of_recurrent, &pass.encoder.hidden[at * hidden..][..hidden], &back.sums);
        back.hidden.fill(0.0);
        add_product_transposed(&mut back.hidden, &back.sums, &encoder[width * gates..]);
    }
}

fn add(to: &mut [f32], values: &[f32]) {
    to.iter_mut().zip(values).for_each(|(t, v)| *t += v);
}

/// Sums that the processor keeps in its registers over all inputs.
const BLOCK: usize = 32;

/// `to += inputs · matrix`, the matrix having one row an input.
fn add_product(to: &mut [f32], inputs: &[f32], matrix: &[f32]) {
    let width = to.len();
    let (blocks, rest) = to.as_chunks_mut::<BLOCK>();
    let blocked = blocks.len() * BLOCK;
    for (at, block) in blocks.iter_mut().enumerate() {
        let mut sums = *block;
        for (input, row) in inputs.iter().zip(matrix.chunks_exact(width)) {
            let weights = &row.as_chunks::<BLOCK>().0[at];
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += input * weight);
        }
        *block = sums;
    }
    for (input, row) in inputs.iter().zip(matrix.chunks_exact(width)) {
        rest.iter_mut().zip(&row[blocked..]).for_each(|(t, weight)| *t += input * weight);
    }
}

/// `to += matrix · outputs`.
fn add_product_transposed(to: &mut [f32], outputs: &[f32], matrix: &[f32]) {
    for (t, row) in to.iter_mut().zip(matrix.chunks_exact(outputs.len())) {
        *t += dot(row, outputs);
    }
}

/// In eight lanes, because a single sum cannot be computed side by side.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (a_whole, b_whole) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a_whole.remainder().iter().zip(b_whole.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_whole.zip(b_whole) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// `matrix += inputs ⊗ outputs`.
fn add_outer(matrix: &mut [f32], inputs: &[f32], outputs: &[f32]) {
    for (input, row) in inputs.iter().zip(matrix.chunks_exact_mut(outputs.len())) {
        row.iter_mut().zip(outputs).for_each(|(m, output)| *m += input * output);
    }
}

/// tanh by its continued fraction to the seventh term (Lambert 1770): within 1e-4 of it everywhere, without a branch,
/// and a tenth of the library's time, which would be most of a check's.
fn tanh(x: f32) -> f32 {
    let x = x.clamp(-4.97, 4.97);
    let s = x * x;
    let above = x * (135_135.0 + s * (17_325.0 + s * (378.0 + s)));
    let below = 135_135.0 + s * (62_370.0 + s * (3_150.0 + s * 28.0));
    (above / below).clamp(-1.0, 1.0)
}

fn sigmoid(x: f32) -> f32 {
    0.5 + 0.5 * tanh(0.5 * x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;

    const SIZES: Sizes = Sizes { width: 3, hidden: 5, steps: 6 };

    fn numbers(seed: u128) -> impl FnMut() -> f32 {
        let mut random = rand_pcg::Pcg64Mcg::new(seed);
        move || (random.next_u32() as f32 / u32::MAX as f32) * 2.0 - 1.0
    }

    /// One step of a cell in `f64`, written down from the paper: what `inputs` and `weights` of each come to.
    fn cell(
        hidden: usize,
        bias: &[f64],
        components: [(&[f64], &[f64]); 2],
        state: &mut [f64],
        shown: &mut Vec<f64>,
    ) {
        let gates = GATES * hidden;
        let sum = |effect_filter: usize| {
            let inner = |(inputs, weights): &(&[f64], &[f64])| -> f64 {
                inputs.iter().enumerate().map(|(from, x)| x * weights[from * gates + effect_filter]).sum()
            };
            bias[effect_filter] + components.iter().map(inner).sum::<f64>()
        };
        let open = |x: f64| 1.0 / (1.0 + (-x).exp());
        let next: Vec<f64> = (0..hidden)
            .map(|unit| {
                let [input, forget, candidate, out] =
                    [0, 1, 2, 3].map(|effect_filter| sum(effect_filter * hidden + unit));
                state[unit] = open(forget) * state[unit] + open(input) * candidate.tanh();
                open(out) * state[unit].tanh()
            })
            .collect();
        *shown = next;
    }

    /// Half the squared error of a reconstruction, all in `f64` and with the library's functions.
    fn shadow_loss(parameters: &[f64], window: &[f64]) -> f64 {
        let Sizes { width, hidden, .. } = SIZES;
        let Layout { encoder_bias, decoder, decoder_bias, output, output_bias, .. } = SIZES.layout();
        let gates = GATES * hidden;
        let (inward, encoder_back) = parameters[..encoder_bias].split_at(width * gates);
        let (driven, decoder_back) = parameters[decoder..decoder_bias].split_at(hidden * gates);
        let (mut state, mut shown) = (vec![0.0; hidden], vec![0.0; hidden]);
        for row in window.chunks(width) {
            let before = shown.clone();
            let components = [(row, inward), (before.as_slice(), encoder_back)];
            cell(hidden, &parameters[encoder_bias..decoder], components, &mut state, &mut shown);
        }
        let code = shown;
        let (mut state, mut shown) = (vec![0.0; hidden], vec![0.0; hidden]);
        let mut loss = 0.0;
        for row in window.chunks(width) {
            let before = shown.clone();
            let components = [(code.as_slice(), driven), (before.as_slice(), decoder_back)];
            cell(hidden, &parameters[decoder_bias..output], components, &mut state, &mut shown);
            for (at, value) in row.iter().enumerate() {
                let weights = parameters[output..].iter().skip(at).step_by(width);
                let sum: f64 = shown.iter().zip(weights).map(|(x, weight)| x * weight).sum();
                loss += (sum + parameters[output_bias + at] - value).powi(2) / 2.0;
            }
        }
        loss
    }

    #[test]
    fn the_gradient_of_every_kind_of_parameter_is_the_one_that_differences_give() {
        let parameters = SIZES.begin(numbers(1));
        let mut number = numbers(2);
        let window: Vec<f32> = (0..SIZES.steps * SIZES.width).map(|_| number()).collect();
        let mut pass = Pass::default();
        reconstruct(SIZES, &parameters, &window, &mut pass);
        let of_output: Vec<f32> = pass.output.iter().zip(&window).map(|(y, x)| y - x).collect();
        let mut analytic = vec![0.0; SIZES.parameters()];
        gradient(SIZES, &parameters, &window, &pass, &of_output, &mut Back::default(), &mut analytic);
        let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|x| f64::from(*x)).collect() };
        let (mut shadow, window) = (wide(&parameters), wide(&window));
        // Central differences of an f64 loss near 3: rounding is 3 × 2⁻⁵³ ÷ 1e-5, the third derivative adds 1e-10.
        let step = 1e-5;
        let numeric: Vec<f64> = (0..shadow.len())
            .map(|at| {
                let mut moved = |by: f64| {
                    shadow[at] += by;
                    let loss = shadow_loss(&shadow, &window);
                    shadow[at] -= by;
                    loss
                };
                (moved(step) - moved(-step)) / (2.0 * step)
            })
            .collect();
        let layout = SIZES.layout();
        let gates = GATES * SIZES.hidden;
        for (kind, component) in [
            ("encoder, of the row", 0..SIZES.width * gates),
            ("encoder, recurrent", SIZES.width * gates..layout.encoder_bias),
            ("encoder, bias", layout.encoder_bias..layout.decoder),
            ("decoder, of the code", layout.decoder..layout.decoder + SIZES.hidden * gates),
            ("decoder, recurrent", layout.decoder + SIZES.hidden * gates..layout.decoder_bias),
            ("decoder, bias", layout.decoder_bias..layout.output),
            ("output", layout.output..layout.output_bias),
            ("output, bias", layout.output_bias..layout.end),
        ] {
            let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
            let size = norm(&mut numeric[component.clone()].iter().copied());
            let off = norm(&mut component.clone().map(|at| f64::from(analytic[at]) - numeric[at]));
            // A dozen steps of f32 sums of a few dozen terms each.
            assert!(size > 1e-3 && off < 2e-6 * size, "{kind}: off by {off} of {size}");
        }
    }

    #[test]
    fn the_hyperbolic_tangent_is_that_of_the_library_within_a_ten_thousandth() {
        for step in -1000..1000 {
            let x = step as f32 * 0.01;
            assert!((tanh(x) - x.tanh()).abs() < 1.2e-4, "at {x}");
        }
    }

    #[test]
    fn a_pass_is_the_same_in_used_buffers_as_in_fresh_ones() {
        let parameters = SIZES.begin(numbers(1));
        let window = vec![0.5; SIZES.steps * SIZES.width];
        let (mut used, mut fresh) = (Pass::default(), Pass::default());
        reconstruct(SIZES, &parameters, &vec![-1.0; window.len()], &mut used);
        reconstruct(SIZES, &parameters, &window, &mut used);
        reconstruct(SIZES, &parameters, &window, &mut fresh);
        assert_eq!(used.output, fresh.output);
    }
}
