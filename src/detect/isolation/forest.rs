//! An isolation forest over the shape of one metric, in one flat arena.

use rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::{FEATURES, Feature, Params, Shape};

/// Features tried for a split before a node is called constant.
const TRIES: usize = 2 * FEATURES;
const EULER: f64 = 0.577_215_664_901_532_9;

/// Trees of one metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forest {
    nodes: Vec<Node>,
    roots: Vec<u32>,
    /// Depth of the deepest leaf.
    deepest: u8,
    /// Mean path of an unsuccessful search in a tree of the sample's size: what a path is measured against.
    usual_path: f64,
    /// The same of a tree of so many rows, as far as leaves have that many: the path that is expected below them.
    paths_below: Vec<f64>,
}

/// A node of eight bytes, because scoring waits for memory more than for anything else. Its left child comes right
/// after it. A leaf leads to itself, so that several trees can be walked side by side without asking which has ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Node {
    /// Where the feature is split; the rows of the sample that ended in a leaf.
    at: f32,
    /// Nodes from here to the right child; 0 in a leaf.
    right: u16,
    /// Position in a [`Shape`]; [`NONE`] in a leaf.
    feature: u8,
    depth: u8,
}

/// A feature that is never below anything.
const NONE: u8 = FEATURES as u8;
/// Trees walked side by side, and places of the shape they look at.
const LANES: usize = 8;
const PLACES: usize = FEATURES.next_power_of_two();
const _: () = assert!(FEATURES < PLACES, "a shape needs room for the feature of leaves");

/// A node of a tree that was grown elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Grown {
    /// Shapes whose `feature` is below `at` go on at the node `left`, the others at `right`; by position in the tree.
    Split {
        /// Position in a [`Shape`].
        feature: u8,
        /// In the unit of the feature.
        at: f32,
        /// Comes after the node itself.
        left: usize,
        /// Comes after the node itself.
        right: usize,
    },
    /// So many rows of the sample ended here.
    Leaf(usize),
}

impl Forest {
    /// A forest of trees that were grown elsewhere, each on `sample_size` rows and with its root first. `None` where a
    /// tree does not hang together: an absent feature, or a child that does not come after its parent.
    pub fn grown(trees: &[Vec<Grown>], sample_size: usize) -> Option<Self> {
        let mut forest = Self::bare(sample_size);
        for tree in trees {
            forest.roots.push(forest.nodes.len() as u32);
            forest.graft(tree, 0, 0)?;
        }
        Some(forest)
    }

    fn bare(sample_size: usize) -> Self {
        let usual_path = usual_path(sample_size);
        Self { nodes: Vec::new(), roots: Vec::new(), deepest: 0, usual_path, paths_below: Vec::new() }
    }

    fn graft(&mut self, tree: &[Grown], at: usize, depth: u8) -> Option<()> {
        match *tree.get(at)? {
            Grown::Leaf(rows) => self.end(depth, rows),
            Grown::Split { feature, at: value, left, right } => {
                if usize::from(feature) >= FEATURES || left <= at || right <= at {
                    return None;
                }
                let split = self.begin(feature, value, depth);
                let below = depth.checked_add(1)?;
                self.graft(tree, left, below)?;
                self.nodes[split].right = u16::try_from(self.nodes.len() - split).ok()?;
                self.graft(tree, right, below)?;
            }
        }
        Some(())
    }

    /// Grows `params.trees` trees, each on a sample drawn with replacement.
    pub(super) fn grow(shapes: &[Shape], params: Params, random: &mut Pcg64Mcg) -> Self {
        let size = params.sample_size.min(shapes.len());
        let limit = (size as f64).log2().ceil() as u8;
        let mut forest = Self::bare(size);
        for _ in 0..params.trees {
            let draw = |_| &shapes[below(random, shapes.len())];
            let mut sample: Vec<&Shape> = (0..size).map(draw).collect();
            forest.roots.push(forest.nodes.len() as u32);
            forest.split(&mut sample, 0, limit, random);
        }
        forest
    }

    fn split(&mut self, sample: &mut [&Shape], depth: u8, limit: u8, random: &mut Pcg64Mcg) {
        let chosen = if depth < limit { choose(sample, random) } else { None };
        let Some((feature, at)) = chosen else {
            return self.end(depth, sample.len());
        };
        let middle = partition(sample, feature, f64::from(at));
        let (low, high) = sample.split_at_mut(middle);
        let split = self.begin(feature as u8, at, depth);
        self.split(low, depth + 1, limit, random);
        // The configuration admits 4096 rows, and a tree has at most twice as many nodes.
        self.nodes[split].right = (self.nodes.len() - split) as u16;
        self.split(high, depth + 1, limit, random);
    }

    /// Adds a node whose children are to follow, and says where it is.
    fn begin(&mut self, feature: u8, at: f32, depth: u8) -> usize {
        self.nodes.push(Node { at, right: 0, feature, depth });
        self.nodes.len() - 1
    }

    /// Adds a leaf where `rows` of the sample are told apart no further.
    fn end(&mut self, depth: u8, rows: usize) {
        self.deepest = self.deepest.max(depth);
        let known = self.paths_below.len();
        self.paths_below.extend((known..=rows).map(usual_path));
        self.nodes.push(Node { at: rows as f32, right: 0, feature: NONE, depth });
    }

    /// 2^(−mean path ÷ usual path): 1 for a shape told apart at once, below 0.5 for a usual one.
    pub fn isolation(&self, shape: &Shape) -> f64 {
        let paths: f64 = self.paths(shape).sum();
        (-paths / self.roots.len().max(1) as f64 / self.usual_path).exp2()
    }

    /// Edges from each root to where `shape` ends, with the path expected below it added.
    pub fn paths(&self, shape: &Shape) -> impl Iterator<Item = f64> {
        let mut places = [f64::NAN; PLACES];
        places[..FEATURES].copy_from_slice(shape);
        self.roots.chunks(LANES).flat_map(move |roots| {
            let mut at = [0; LANES];
            at.iter_mut().zip(roots).for_each(|(at, root)| *at = *root as usize);
            for _ in 0..self.deepest {
                at.iter_mut().for_each(|at| *at = self.nodes[*at].below(*at, &places));
            }
            at.into_iter().take(roots.len()).map(|leaf| self.path(self.nodes[leaf]))
        })
    }

    fn path(&self, leaf: Node) -> f64 {
        f64::from(leaf.depth) + self.paths_below[leaf.at as usize]
    }
}

impl Node {
    /// Where a shape goes on from this node at `at`.
    fn below(self, at: usize, places: &[f64; PLACES]) -> usize {
        let is_left = places[self.feature as usize % PLACES] < f64::from(self.at);
        at + if is_left { 1 } else { self.right as usize }
    }
}

/// A random feature that is not constant in `sample`, and a random value within its range.
fn choose(sample: &[&Shape], random: &mut Pcg64Mcg) -> Option<(Feature, f32)> {
    if sample.len() < 2 {
        return None;
    }
    (0..TRIES).find_map(|_| {
        let feature = below(random, FEATURES);
        let range = |(low, high): (f64, f64), s: &&Shape| (low.min(s[feature]), high.max(s[feature]));
        let (low, high) = sample.iter().fold((f64::INFINITY, f64::NEG_INFINITY), range);
        let at = (low + (high - low) * unit(random)) as f32;
        // Rounding must not put all of the sample on one side.
        (low < f64::from(at) && f64::from(at) <= high).then_some((feature, at))
    })
}

/// Moves the shapes below `at` to the front and says how many there are.
fn partition(sample: &mut [&Shape], feature: Feature, at: f64) -> usize {
    let mut middle = 0;
    for i in 0..sample.len() {
        if sample[i][feature] < at {
            sample.swap(i, middle);
            middle += 1;
        }
    }
    middle
}

/// Mean path of an unsuccessful search in a binary tree of `n` values.
fn usual_path(n: usize) -> f64 {
    match n {
        0 | 1 => 0.0,
        2 => 1.0,
        n => 2.0 * (((n - 1) as f64).ln() + EULER) - 2.0 * (n - 1) as f64 / n as f64,
    }
}

/// A number in [0, 1).
fn unit(random: &mut Pcg64Mcg) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number below `n`; the bias of the multiplication is below 2⁻³² for the sizes here.
pub(super) fn below(random: &mut Pcg64Mcg, n: usize) -> usize {
    ((u64::from(random.next_u32()) * n as u64) >> 32) as usize
}
