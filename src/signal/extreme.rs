//! The largest or smallest of a group, chosen among equals as Prometheus chooses.
//!
//! Which of several equal values stays depends on how Go's `container/heap` moves them, so its steps are followed.

use super::eval::Vector;

/// The `most` largest (or smallest) of `of`, the most extreme first; NaN only where there is nothing else.
pub(super) fn extremes(of: Vector, most: usize, largest: bool) -> Vector {
    let beats = |a: f64, b: f64| if largest { a > b } else { a < b };
    // The one to be replaced first is on top.
    let yields = |a: f64, b: f64| a.is_nan() || beats(b, a);
    let mut heap: Vector = Vec::with_capacity(most);
    for (labels, value) in of {
        if heap.len() < most {
            heap.push((labels, value));
            rise(&mut heap, &yields);
        } else if beats(value, heap[0].1) || (heap[0].1.is_nan() && !value.is_nan()) {
            heap[0] = (labels, value);
            sink(&mut heap, &yields);
        }
    }
    sort(&mut heap, largest);
    heap
}

/// Rising, or `falling`; NaN at the end of either.
pub(super) fn sort(vector: &mut Vector, falling: bool) {
    vector.sort_by(|(_, a), (_, b)| {
        let rising = a.total_cmp(b);
        a.is_nan().cmp(&b.is_nan()).then(if falling { rising.reverse() } else { rising })
    });
}

fn rise(heap: &mut Vector, yields: &impl Fn(f64, f64) -> bool) {
    let mut child = heap.len() - 1;
    while child > 0 {
        let parent = (child - 1) / 2;
        if !yields(heap[child].1, heap[parent].1) {
            return;
        }
        heap.swap(child, parent);
        child = parent;
    }
}

fn sink(heap: &mut Vector, yields: &impl Fn(f64, f64) -> bool) {
    let mut parent = 0;
    loop {
        let (left, right) = (2 * parent + 1, 2 * parent + 2);
        if left >= heap.len() {
            return;
        }
        let takes_right = right < heap.len() && yields(heap[right].1, heap[left].1);
        let child = if takes_right { right } else { left };
        if !yields(heap[child].1, heap[parent].1) {
            return;
        }
        heap.swap(child, parent);
        parent = child;
    }
}
