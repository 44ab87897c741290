// Ops that move numbers without changing them. All throw std::invalid_argument, in their own name,
// for shapes and axes that do not fit, and std::length_error for a shape of more numbers than
// memory holds; a negative axis counts from the last.
#pragma once

#include <vector>

#include "../engine/broadcast.hpp"
#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// x's numbers, in row-major order, under another shape of the same size.
Var reshape(Var x, const Shape& shape);
/// x with a new axis of length 1, which is axis `axis` of the result.
Var expand_dims(Var x, int axis);
/// x without axis `axis`, which must be of length 1.
Var squeeze(Var x, int axis);
/// Axis i of the result is axis axes[i] of x; without `axes`, their order is reversed.
Var transpose(Var x, const Axes& axes = {});
/// x stretched to `shape`, as NumPy broadcasts.
Var broadcast(Var x, const Shape& shape);
/// The parts one after the other along an axis; their other axes must agree.
Var concatenate(const std::vector<Var>& parts, int axis = 0);
/// The parts, all of one shape, along a new axis.
Var stack(const std::vector<Var>& parts, int axis = 0);
/// Elements begin <= i < end of an axis.
Var slice(Var x, std::size_t begin, std::size_t end, int axis = 0);
/// Zeros put before and after along an axis.
Var pad(Var x, std::size_t before, std::size_t after, int axis = 0);
/// Elements indices[0], indices[1], ... of an axis; an index may occur more than once.
Var take(Var x, const std::vector<std::size_t>& indices, int axis = 0);

/// y[i] = x[indices[i]], both counted in row-major order; y has `shape`. With scatter, its
/// opposite, for whoever writes an op that picks numbers.
Var gather(Var x, const std::vector<std::size_t>& indices, const Shape& shape);
/// y of `shape`, zero but for y[indices[i]] += x[i].
Var scatter(Var x, const std::vector<std::size_t>& indices, const Shape& shape);

/// y[o, k, i] = x[o, indices[o, k, i], i] around an axis, as NumPy has it and as PyTorch's gather
/// does: an index for each number of y, in row-major order. y's other axes are x's, so the number
/// of indices says how long this one is. Its opposite is scatter_add.
Var take_along_axis(Var x, const std::vector<std::size_t>& indices, int axis = -1);
/// y, whose axis is `length` long, zero but for y[o, indices[o, k, i], i] += x[o, k, i].
Var scatter_add(Var x, const std::vector<std::size_t>& indices, std::size_t length, int axis = -1);
/// The elements of an axis, the last one first.
Var flip(Var x, int axis);
/// Parts of these lengths, one after the other along an axis: the opposite of concatenate.
std::vector<Var> split(Var x, const std::vector<std::size_t>& lengths, int axis = 0);
/// Parts of one length, the last of which may be shorter; as PyTorch's split, where NumPy's takes
/// the number of parts.
std::vector<Var> split(Var x, std::size_t length, int axis = 0);

/// Row i is 1 at labels[i], else 0: of shape (labels, classes). Throws for a label out of range.
Tensor one_hot(const std::vector<std::size_t>& labels, std::size_t classes);

ARGTAPE_END
