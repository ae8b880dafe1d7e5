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
    /// Mean path of an unsuccessful search in a tree of the sample's size: what a path is measured against.
    usual_path: f64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Node {
    Split {
        feature: u8,
        /// Narrow, because most of a model is these.
        at: f32,
        left: u32,
        right: u32,
    },
    /// Depth, with the path expected below it added.
    Leaf(f64),
}

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
        let mut forest = Self { nodes: Vec::new(), roots: Vec::new(), usual_path: usual_path(sample_size) };
        for tree in trees {
            let root = forest.graft(tree, 0, 0)?;
            forest.roots.push(root);
        }
        Some(forest)
    }

    fn graft(&mut self, tree: &[Grown], at: usize, depth: usize) -> Option<u32> {
        let node = match *tree.get(at)? {
            Grown::Leaf(rows) => leaf(depth, rows),
            Grown::Split { feature, at: value, left, right } => {
                if usize::from(feature) >= FEATURES || left <= at || right <= at {
                    return None;
                }
                let [left, right] = [self.graft(tree, left, depth + 1)?, self.graft(tree, right, depth + 1)?];
                Node::Split { feature, at: value, left, right }
            }
        };
        Some(self.add(node))
    }

    /// Grows `params.trees` trees, each on a sample drawn with replacement.
    pub(super) fn grow(shapes: &[Shape], params: Params, random: &mut Pcg64Mcg) -> Self {
        let size = params.sample_size.min(shapes.len());
        let limit = (size as f64).log2().ceil() as usize;
        let mut forest = Self { nodes: Vec::new(), roots: Vec::new(), usual_path: usual_path(size) };
        for _ in 0..params.trees {
            let draw = |_| &shapes[below(random, shapes.len())];
            let mut sample: Vec<&Shape> = (0..size).map(draw).collect();
            let root = forest.split(&mut sample, 0, limit, random);
            forest.roots.push(root);
        }
        forest
    }

    fn split(&mut self, sample: &mut [&Shape], depth: usize, limit: usize, random: &mut Pcg64Mcg) -> u32 {
        let chosen = if depth < limit { choose(sample, random) } else { None };
        let Some((feature, at)) = chosen else {
            return self.add(leaf(depth, sample.len()));
        };
        let middle = partition(sample, feature, f64::from(at));
        let (low, high) = sample.split_at_mut(middle);
        let left = self.split(low, depth + 1, limit, random);
        let right = self.split(high, depth + 1, limit, random);
        self.add(Node::Split { feature: feature as u8, at, left, right })
    }

    fn add(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    /// 2^(−mean path ÷ usual path): 1 for a shape told apart at once, below 0.5 for a usual one.
    pub fn isolation(&self, shape: &Shape) -> f64 {
        let paths: f64 = self.paths(shape).sum();
        (-paths / self.roots.len().max(1) as f64 / self.usual_path).exp2()
    }

    /// Edges from each root to where `shape` ends, with the path expected below it added.
    pub fn paths(&self, shape: &Shape) -> impl Iterator<Item = f64> {
        self.roots.iter().map(|root| self.path(*root, shape))
    }

    fn path(&self, root: u32, shape: &Shape) -> f64 {
        let mut at = root;
        loop {
            match self.nodes[at as usize] {
                Node::Leaf(path) => return path,
                Node::Split { feature, at: value, left, right } => {
                    at = if shape[feature as usize] < f64::from(value) { left } else { right };
                }
            }
        }
    }
}

/// Where `rows` of the sample are told apart no further.
fn leaf(depth: usize, rows: usize) -> Node {
    Node::Leaf(depth as f64 + usual_path(rows))
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
