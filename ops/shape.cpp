#include "ops/shape.hpp"

#include <algorithm>
#include <memory>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "ops/kernels/axis.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// Copies `length` elements of an axis from place `from` of x to place `to` of y.
void copy_range(const Tensor& x, std::size_t from, Tensor& y, std::size_t to, std::size_t length,
                std::size_t axis) {
  const Around a(x.shape(), axis), b(y.shape(), axis);
  for (std::size_t o = 0; o < a.outer; ++o)
    std::copy_n(x.data() + (o * a.length + from) * a.inner, length * a.inner,
                y.data() + (o * b.length + to) * b.inner);
}

Tensor transposed(const Tensor& x, const std::vector<std::size_t>& axes) {
  Shape shape{1}, step{0};  // the result's axes behind one more, and where they go in x
  for (std::size_t a : axes) {
    shape.push_back(x.shape()[a]);
    step.push_back(static_cast<std::size_t>(x.strides()[a]));
  }
  Tensor y = uninitialised(Shape(shape.begin() + 1, shape.end()));
  const std::size_t n = axes.size(), length = shape[n], along = step[n], down = step[n - 1];
  Scalar* to = y.data();
  for (std::size_t matrix = 0; to != y.data() + y.size(); ++matrix) {
    const Scalar* from = x.data();
    for (std::size_t axis = n - 1, rest = matrix; axis-- > 0; rest /= shape[axis])
      from += rest % shape[axis] * step[axis];
    for (std::size_t row = 0; row < shape[n - 1]; ++row, from += down, to += length)
      for (std::size_t i = 0; i < length; ++i) to[i] = from[i * along];
  }
  return y;
}

// A place on an axis, counted from the end if it is negative. One before the first is beyond all.
std::size_t place(Integer i, std::size_t length) {
  return static_cast<std::size_t>(i.value) + (i.value < 0 ? length : 0);
}

// Which numbers are picked: y[o, k, i] = x[o, indices[k], i], for x of shape `from`, seen around an
// axis, and y of shape `to`.
struct Picks {
  Name name, transpose;
  std::vector<std::size_t> indices;
  Shape from, to;
  Around around;

  // f(where in x, where in y) for each stretch of numbers one behind the other.
  template <class F>
  void each(F f) const {
    std::size_t at = 0;
    for (std::size_t o = 0; o < around.outer; ++o)
      for (std::size_t k : indices) {
        f((o * around.length + k) * around.inner, at);
        at += around.inner;
      }
  }
};
using Picked = std::shared_ptr<const Picks>;

Var put(Var y, const Picked& picks);

Var pick(Var x, const Picked& picks) {
  Tensor y = uninitialised(picks->to);
  picks->each([n = picks->around.inner, from = x.value().data(), to = y.data()](std::size_t in_x,
                                                                                std::size_t in_y) {
    n == 1 ? void(to[in_y] = from[in_x]) : void(std::copy_n(from + in_x, n, to + in_y));
  });
  return x.tape->record(picks->name, {x}, std::move(y),
                        [picks](BackwardContext& ctx) { ctx.give(0, put(ctx.gradient(), picks)); });
}

// The transpose: x is 0 but for what is added to it.
Var put(Var y, const Picked& picks) {
  Tensor x = zeros(picks->from);
  picks->each([n = picks->around.inner, from = y.value().data(), to = x.data()](std::size_t in_x,
                                                                                std::size_t in_y) {
#pragma omp simd
    for (std::size_t i = 0; i < n; ++i) to[in_x + i] += from[in_y + i];
  });
  return y.tape->record(picks->transpose, {y}, std::move(x), [picks](BackwardContext& ctx) {
    ctx.give(0, pick(ctx.gradient(), picks));
  });
}

// Of all numbers, counted in row-major order.
Picked picks_of_all(Name name, Name transpose, std::vector<std::size_t> indices, const Shape& from,
                    const Shape& to) {
  const Around all({size_of(from)}, 0);
  return std::make_shared<const Picks>(Picks{name, transpose, std::move(indices), from, to, all});
}

Picked flat_picks(const char* op, const std::vector<std::size_t>& indices, const Shape& from,
                  const Shape& to) {
  if (indices.size() != size_of(to))
    refuse(op, ": ", indices.size(), " indices for ", to, "; need ", size_of(to));
  const std::size_t n = size_of(from);
  for (std::size_t i : indices)
    if (i >= n) refuse(op, ": index ", i, " into ", from, "; need less than ", n);
  return picks_of_all("gather", "scatter", indices, from, to);
}

// part[o, k, i] = whole[o, indices[o, k, i], i], around an axis.
Picked picks_along(const char* op, std::vector<std::size_t> indices, const Shape& whole,
                   const Shape& part, std::size_t axis) {
  const Around from(whole, axis), to(part, axis);
  for (std::size_t at = 0; at < indices.size(); ++at) {
    std::size_t& i = indices[at];
    if (i >= from.length)
      refuse(op, ": index ", i, " on axis ", axis, " of ", whole, "; need less than ", from.length);
    i = (at / to.inner / to.length * from.length + i) * from.inner + at % to.inner;
  }
  return picks_of_all("take_along_axis", "scatter_add", std::move(indices), whole, part);
}

}  // namespace

Var reshape(Var x, const Shape& shape) { return reshaped(x, shape); }

Var reshape(Var x, std::initializer_list<Integer> lengths) {
  Shape shape;
  std::size_t open = lengths.size();
  for (const Integer& l : lengths) {
    const bool is_open = l.value < 0;
    require(!is_open || (l.value == -1 && open == lengths.size()), "reshape: length ", l.value,
            " on axis ", shape.size(), "; need lengths, and -1 at most once");
    if (is_open) open = shape.size();
    shape.push_back(is_open ? 1 : static_cast<std::size_t>(l.value));
  }
  if (open == lengths.size()) return reshaped(x, shape);
  const std::size_t known = size_of(shape);
  const std::size_t size = x.value().size();
  require(known > 0 && size % known == 0, "reshape: x is ", x.shape(), ", axis ", open,
          " is open beside ", known, " numbers; need ",
          (size ? "a divisor of " + in_words(size) : "its length, which could be any"));
  shape[open] = size / known;
  return reshaped(x, shape);
}

Var expand_dims(Var x, int axis) {
  const Shape longer(x.shape().size() + 1, 1);
  return reshaped(x, with_axis(x.shape(), axis_of("expand_dims", axis, longer), 1));
}

Var squeeze(Var x, int axis) {
  const std::size_t a = axis_of("squeeze", axis, x.shape());
  if (x.shape()[a] != 1) refuse("squeeze: axis ", a, " of ", x.shape(), "; need length 1");
  Shape shape = x.shape();
  shape.erase(shape.begin() + a, shape.begin() + a + 1);
  return reshaped(x, shape);
}

Var transpose(Var x, const Axes& axes) {
  const std::size_t rank = x.shape().size();
  std::vector<std::size_t> order;
  for (int a : axes) order.push_back(axis_of("transpose", a, x.shape()));
  for (std::size_t i = rank; axes.empty() && i-- > 0;) order.push_back(i);
  Axes back(rank, -1);
  for (std::size_t i = 0; i < order.size(); ++i) back[order[i]] = static_cast<int>(i);
  if (order.size() != rank || std::count(back.begin(), back.end(), -1) > 0)
    refuse("transpose: ", axes.size(), " axes for ", x.shape(), "; need each axis once");
  if (rank == 0) return reshape(x, {});
  return x.tape->record(
      "transpose", {x}, transposed(x.value(), order),
      [back](BackwardContext& ctx) { ctx.give(0, transpose(ctx.gradient(), back)); });
}

Var broadcast(Var x, const Shape& shape) {
  if (!broadcasts_to(x.shape(), shape))
    refuse("broadcast: x is ", x.shape(), "; does not stretch to ", shape);
  return broadcast_to(x, shape);
}

Var concatenate(const std::vector<Var>& parts, int axis) {
  Tape& tape = tape_of("concatenate", parts);
  Shape shape = parts[0].shape();
  const std::size_t a = axis_of("concatenate", axis, shape);
  std::vector<std::size_t> starts{0};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Shape other = parts[i].shape();
    if (other.size() == shape.size()) {
      starts.push_back(starts.back() + other[a]);
      other[a] = shape[a];
    }
    if (other != shape)
      refuse("concatenate: part ", i, " is ", parts[i].shape(), ", part 0 is ", shape,
             "; need equal lengths on all axes but ", a);
  }
  shape[a] = starts.back();
  Tensor y = uninitialised(shape);
  for (std::size_t i = 0; i < parts.size(); ++i)
    copy_range(parts[i].value(), 0, y, starts[i], starts[i + 1] - starts[i], a);
  return tape.record("concatenate", parts, std::move(y), [a, starts](BackwardContext& ctx) {
    for (std::size_t i = 0; i < ctx.inputs(); ++i)
      if (ctx.wants(i))
        ctx.give(i, slice(ctx.gradient(), starts[i], starts[i + 1], static_cast<int>(a)));
  });
}

Var stack(const std::vector<Var>& parts, int axis) {
  tape_of("stack", parts);
  for (std::size_t i = 1; i < parts.size(); ++i)
    if (parts[i].shape() != parts[0].shape())
      refuse("stack: part ", i, " is ", parts[i].shape(), ", part 0 is ", parts[0].shape(),
             "; need equal shapes");
  axis_of("stack", axis, Shape(parts[0].shape().size() + 1, 1));
  std::vector<Var> thick;
  for (Var p : parts) thick.push_back(expand_dims(p, axis));
  return concatenate(thick, axis);
}

Var slice(Var x, Integer from, Integer to, int axis, Integer step) {
  const std::size_t a = axis_of("slice", axis, x.shape()), length = x.shape()[a];
  const std::size_t begin = place(from, length), end = place(to, length);
  if (begin > end || end > length)
    refuse("slice: ", from.value, "..", to.value, " of axis ", a, " of ", x.shape(),
           "; need begin <= end <= ", length);
  require(step.value > 0, "slice: step is ", step.value, "; need at least 1");
  if (step.value > 1) {
    std::vector<std::size_t> indices;
    for (std::size_t i = begin; i < end; i += static_cast<std::size_t>(step.value))
      indices.push_back(i);
    return take(x, indices, axis);
  }
  Shape shape = x.shape();
  shape[a] = end - begin;
  Tensor y = uninitialised(shape);
  copy_range(x.value(), begin, y, 0, end - begin, a);
  return x.tape->record("slice", {x}, std::move(y),
                        [axis, begin, end, length](BackwardContext& ctx) {
                          ctx.give(0, pad(ctx.gradient(), begin, length - end, axis));
                        });
}

Var element(Var x, Integer i) {
  const Shape& shape = x.shape();
  require(!shape.empty(), "element: x is (); a single number has no axes");
  const std::size_t at = place(i, shape[0]);
  if (at >= shape[0])
    refuse("element: ", i.value, " of ", shape,
           (shape[0] ? "; need " + in_words(-shape[0]) + ".." + in_words(shape[0] - 1)
                     : "; an axis of length 0 has none"));
  return pick(
      x,
      std::make_shared<const Picks>(Picks{
          "element", "put", {at}, shape, Shape(shape.begin() + 1, shape.end()), Around(shape, 0)}));
}

Var pad(Var x, std::size_t before, std::size_t after, int axis) {
  const std::size_t a = axis_of("pad", axis, x.shape()), length = x.shape()[a];
  Shape shape = x.shape();
  if (before > kMostBytes || after > kMostBytes)
    refuse("pad: before is ", before, ", after is ", after, "; need numbers of elements");
  shape[a] += before + after;
  Tensor y = zeros(shape);
  copy_range(x.value(), 0, y, before, length, a);
  return x.tape->record("pad", {x}, std::move(y), [axis, before, length](BackwardContext& ctx) {
    ctx.give(0, slice(ctx.gradient(), before, before + length, axis));
  });
}

Var take(Var x, const std::vector<std::size_t>& indices, int axis) {
  const std::size_t a = axis_of("take", axis, x.shape()), length = x.shape()[a];
  for (std::size_t i : indices)
    if (i >= length)
      refuse("take: index ", i, " on axis ", a, " of ", x.shape(), "; need less than ", length);
  Shape shape = x.shape();
  shape[a] = indices.size();
  return pick(x, std::make_shared<const Picks>(
                     Picks{"take", "put", indices, x.shape(), shape, Around(x.shape(), a)}));
}

Var gather(Var x, const std::vector<std::size_t>& indices, const Shape& shape) {
  return pick(x, flat_picks("gather", indices, x.shape(), shape));
}

Var scatter(Var x, const std::vector<std::size_t>& indices, const Shape& shape) {
  return put(x, flat_picks("scatter", indices, shape, x.shape()));
}

Var take_along_axis(Var x, const std::vector<std::size_t>& indices, int axis) {
  const std::size_t a = axis_of("take_along_axis", axis, x.shape());
  Shape shape = x.shape();
  shape[a] = 1;
  const std::size_t rows = std::max<std::size_t>(size_of(shape), 1);
  require(indices.size() % rows == 0 && (size_of(shape) > 0 || indices.empty()),
          "take_along_axis: ", indices.size(), " indices for axis ", a, " of ", x.shape(),
          "; need as many for each of ", size_of(shape), " rows");
  shape[a] = indices.size() / rows;
  return pick(x, picks_along("take_along_axis", indices, x.shape(), shape, a));
}

Var scatter_add(Var x, const std::vector<std::size_t>& indices, std::size_t length, int axis) {
  const std::size_t a = axis_of("scatter_add", axis, x.shape());
  require(indices.size() == x.value().size(), "scatter_add: ", indices.size(), " indices for ",
          x.shape(), "; need ", x.value().size());
  Shape shape = x.shape();
  shape[a] = length;
  return put(x, picks_along("scatter_add", indices, shape, x.shape(), a));
}

Var flip(Var x, int axis) {
  const std::size_t length = x.shape()[axis_of("flip", axis, x.shape())];
  std::vector<std::size_t> from_last(length);
  for (std::size_t i = 0; i < length; ++i) from_last[i] = length - 1 - i;
  return take(x, from_last, axis);
}

std::vector<Var> split(Var x, const std::vector<std::size_t>& lengths, int axis) {
  const std::size_t a = axis_of("split", axis, x.shape()), length = x.shape()[a];
  std::vector<Var> parts;
  std::size_t left = length;
  for (std::size_t n : lengths) {
    if (n > left) break;
    parts.push_back(slice(x, length - left, length - left + n, axis));
    left -= n;
  }
  require(left == 0 && parts.size() == lengths.size(), "split: lengths ",
          Shape(lengths.begin(), lengths.end()), " for axis ", a, " of ", x.shape(),
          "; need a sum of ", length);
  return parts;
}

std::vector<Var> split(Var x, Integer length, int axis) {
  std::size_t left = x.shape()[axis_of("split", axis, x.shape())];
  require(length.value > 0, "split: length is ", length.value, "; need at least 1");
  std::vector<std::size_t> lengths;
  do {
    lengths.push_back(std::min(static_cast<std::size_t>(length.value), left));
    left -= lengths.back();
  } while (left > 0);
  return split(x, lengths, axis);
}

std::vector<Var> split(Var x, std::initializer_list<Integer> lengths, int axis) {
  std::vector<std::size_t> all;
  for (const Integer& l : lengths) all.push_back(static_cast<std::size_t>(l.value));
  return split(x, all, axis);
}

Tensor one_hot(const std::vector<std::size_t>& labels, std::size_t classes) {
  Tensor t = zeros({labels.size(), classes});
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= classes)
      refuse("one_hot: label ", labels[i], " at ", i, "; need less than ", classes);
    t.data()[i * classes + labels[i]] = 1;
  }
  return t;
}

ARGTAPE_END
