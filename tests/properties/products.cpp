// Products of matrices, windows, distances.
#include "ops/conv.hpp"
#include "ops/distance.hpp"
#include "ops/linalg.hpp"
#include "ops/matching.hpp"
#include "ops/pool.hpp"
#include "tests/properties/tables.hpp"

using namespace argtape;

namespace {

// The last two axes, where a vector has none: of one row, or of one column.
Array as_matrix(const Array& x, bool row) {
  if (x.shape.size() > 1) return x;
  return plain::reshaped(x, row ? Shape{1, x.shape[0]} : Shape{x.shape[0], 1});
}
Array product(const Array& left, const Array& right) {
  const Array a = as_matrix(left, true), b = as_matrix(right, false);
  const auto before = [](const Array& x) {
    return Array{Shape(x.shape.begin(), x.shape.end() - 2), {}};
  };
  const std::size_t k = a.shape.back(), n = a.shape[a.shape.size() - 2], m = b.shape.back();
  Shape shape = plain::common({before(a), before(b)});
  const std::size_t lead = shape.size();
  shape = with_axis(with_axis(shape, lead, m), lead, n);
  Array y = plain::made(shape, [&](const Shape& at) {
    Number sum;
    Shape in_a = at, in_b = at;
    for (std::size_t i = 0; i < k; ++i) {
      in_a[lead + 1] = in_b[lead] = i;
      sum += plain::stretched_at(a, in_a) * plain::stretched_at(b, in_b);
    }
    return sum;
  });
  if (right.shape.size() == 1) y.shape = without_axis(y.shape, lead + 1);
  if (left.shape.size() == 1) y.shape = without_axis(y.shape, lead);
  return y;
}
// With its last two axes the other way round.
Array turned(const Array& x) {
  Shape shape = x.shape;
  std::swap(shape[shape.size() - 2], shape.back());
  return plain::made(shape, [&](Shape at) {
    std::swap(at[at.size() - 2], at.back());
    return x.x[plain::number_at(x.shape, at)];
  });
}
std::size_t few(Draws& d) { return d.one_of<std::size_t>({1, 2, 3, 0, 5, 9}); }
// (..., n, m), with up to two axes before, of which some are 1.
Tensor matrices(Draws& d, const Shape& before, std::size_t n, std::size_t m) {
  const Shape lead = d.stretched_to(before);
  return d.numbers(with_axis(with_axis(lead, lead.size(), m), lead.size(), n));
}
Shape few_axes(Draws& d) {
  Shape shape(d.below(3));
  for (std::size_t& n : shape) n = d.one_of<std::size_t>({1, 2, 3, 0});
  return shape;
}

}  // namespace

const plain::Table kProducts = {
    {"matmul",
     [](Draws& d) {
       const Shape before = few_axes(d);
       const std::size_t n = few(d), k = few(d), m = few(d);
       const Tensor a = d.rarely() ? d.numbers({k}) : matrices(d, before, n, k),
                    b = d.rarely() ? d.numbers({k}) : matrices(d, before, k, m);
       return Example{{a, b},
                      [](const Vars& v) { return matmul(v[0], v[1]); },
                      [](const Arrays& x) { return product(x[0], x[1]); },
                      ""};
     }},
    {"matmul_transposed",
     [](Draws& d) {
       const Shape before = few_axes(d);
       const std::size_t n = few(d), k = few(d), m = few(d);
       return Example{{matrices(d, before, n, k), matrices(d, before, m, k)},
                      [](const Vars& v) { return matmul_transposed(v[0], v[1]); },
                      [](const Arrays& x) { return product(x[0], turned(x[1])); },
                      ""};
     }},
    {"dense",
     [](Draws& d) {
       const Shape before = few_axes(d);
       const std::size_t n = few(d), k = few(d), m = few(d);
       const Shape x = with_axis(with_axis(before, before.size(), k), before.size(), n);
       return Example{{d.numbers(x), d.numbers({k, m}), d.numbers({m})},
                      [](const Vars& v) { return dense(v[0], v[1], v[2]); },
                      [](const Arrays& x) {
                        return plain::each({product(x[0], x[1]), x[2]},
                                           [](const Row& r) { return r[0] + r[1]; });
                      },
                      ""};
     }},
    {"outer",
     [](Draws& d) {
       return Example{{d.numbers({few(d)}), d.numbers({few(d)})},
                      [](const Vars& v) { return outer(v[0], v[1]); },
                      [](const Arrays& x) {
                        return plain::made({x[0].x.size(), x[1].x.size()}, [&](const Shape& at) {
                          return x[0].x[at[0]] * x[1].x[at[1]];
                        });
                      },
                      ""};
     }},
    {"dot",
     [](Draws& d) {
       const Shape shape = {d.length()};
       return Example{{d.numbers(shape), d.numbers(shape)},
                      [](const Vars& v) { return dot(v[0], v[1]); },
                      [](const Arrays& x) {
                        return Array{{}, {plain::dot(x[0].x, x[1].x)}};
                      },
                      ""};
     }},
    {"squared_distances",
     [](Draws& d) {
       const std::size_t n = few(d), k = few(d), dimension = d.length();
       return Example{
           {d.numbers({n, dimension}), d.numbers({k, dimension})},
           [](const Vars& v) { return squared_distances(v[0], v[1]); },
           [=](const Arrays& x) {
             return plain::made({n, k}, [&](const Shape& at) {
               Number sum;
               for (std::size_t i = 0; i < dimension; ++i)
                 sum += square(x[0].x[at[0] * dimension + i] - x[1].x[at[1] * dimension + i]);
               return sum;
             });
           },
           ""};
     }},
    {"permute",
     [](Draws& d) {
       const Shape before = few_axes(d);
       const std::size_t n = few(d), m = few(d), wide = few(d);
       return Example{{matrices(d, before, n, m), matrices(d, before, n, wide)},
                      [](const Vars& v) { return permute(v[0], v[1]); },
                      [](const Arrays& x) { return product(turned(x[0]), x[1]); },
                      ""};
     }},
    {"unpermute",
     [](Draws& d) {
       const Shape before = few_axes(d);
       const std::size_t n = few(d), m = few(d), wide = few(d);
       return Example{{matrices(d, before, n, m), matrices(d, before, m, wide)},
                      [](const Vars& v) { return unpermute(v[0], v[1]); },
                      [](const Arrays& x) { return product(x[0], x[1]); },
                      ""};
     }},
};

namespace {

struct Windows {
  std::size_t images, planes, h, w, wide_h, wide_w;
  Pixels stride, padding;
  Windows(Draws& d, bool square)
      : images(d.one_of<std::size_t>({1, 2, 0})),
        planes(d.one_of<std::size_t>({1, 2, 3, 9, 8})),
        h(d.some(5)),
        w(planes > 3 ? d.some(3) : d.one_of<std::size_t>({1, 2, 3, 5, 9, 17})),
        wide_h(d.some(3)),
        wide_w(square ? wide_h : d.some(3)),
        stride(d.some(3), d.some(3)),
        padding(d.below(3), d.below(3)) {
    if (square) stride.w = stride.h, padding.w = padding.h = std::min(padding.h, wide_h - 1);
    h = std::max(h, wide_h);
    w = std::max(w, wide_w);
  }
  Shape shape() const { return {images, planes, h, w}; }
  Shape out(std::size_t to) const {
    return {images, to, (h + 2 * padding.h - wide_h) / stride.h + 1,
            (w + 2 * padding.w - wide_w) / stride.w + 1};
  }
  // f(u, v, where in the image) for the pixels of the window at i, j that are in the image.
  template <class F>
  void at(std::size_t i, std::size_t j, F f) const {
    for (std::size_t u = 0; u < wide_h; ++u)
      for (std::size_t v = 0; v < wide_w; ++v) {
        const std::size_t y = i * stride.h + u, x = j * stride.w + v;
        if (y >= padding.h && x >= padding.w && y < h + padding.h && x < w + padding.w)
          f(u, v, (y - padding.h) * w + x - padding.w);
      }
  }
  std::string words() const {
    return "stride " + str(Shape{stride.h, stride.w}) + ", padding " +
           str(Shape{padding.h, padding.w}) + ", windows " + str(Shape{wide_h, wide_w});
  }
};
// f(the numbers of a window) for each window of each plane.
template <class Op, class F>
Example pooling(Draws& d, Op op, F f) {
  const Windows windows(d, true);
  return {
      {d.numbers(windows.shape())},
      [=](const Vars& v) { return op(v[0], windows.wide_h, windows.stride.h, windows.padding.h); },
      [=](const Arrays& x) {
        return plain::made(windows.out(windows.planes), [&](const Shape& at) {
          Row seen;
          windows.at(at[2], at[3], [&](std::size_t, std::size_t, std::size_t pixel) {
            seen.push_back(
                x[0].x[(at[0] * windows.planes + at[1]) * windows.h * windows.w + pixel]);
          });
          return f(seen);
        });
      },
      windows.words()};
}

}  // namespace

const plain::Table kWindows = {
    {"conv2d",
     [](Draws& d) {
       const Windows at(d, false);
       const std::size_t kernels = d.one_of<std::size_t>({1, 2, 3, 9, 0});
       const bool biased = d.below(2);
       Tensors points = {d.numbers(at.shape()),
                         d.numbers({kernels, at.planes, at.wide_h, at.wide_w})};
       if (biased) points.push_back(d.numbers({kernels}));
       return Example{points,
                      [=](const Vars& v) {
                        return biased ? conv2d(v[0], v[1], v[2], at.stride, at.padding)
                                      : conv2d(v[0], v[1], at.stride, at.padding);
                      },
                      [=](const Arrays& x) {
                        return plain::made(at.out(kernels), [&](const Shape& y) {
                          Number sum = biased ? x[2].x[y[1]] : Number();
                          for (std::size_t c = 0; c < at.planes; ++c)
                            at.at(y[2], y[3], [&](std::size_t u, std::size_t v, std::size_t pixel) {
                              const std::size_t plane = y[0] * at.planes + c,
                                                kernel = y[1] * at.planes + c;
                              sum += x[0].x[plane * at.h * at.w + pixel] *
                                     x[1].x[(kernel * at.wide_h + u) * at.wide_w + v];
                            });
                          return sum;
                        });
                      },
                      at.words()};
     }},
    // What goes from (h, w) to the windows' places by conv2d goes back from there: `at` are the
    // windows of the result.
    {"conv_transpose2d",
     [](Draws& d) {
       Windows at(d, false);
       at.padding = Pixels(std::min(at.padding.h, (at.wide_h - 1) / 2),
                           std::min(at.padding.w, (at.wide_w - 1) / 2));
       const std::size_t kernels = d.one_of<std::size_t>({1, 2, 3, 9});
       const bool biased = d.below(2);
       const Shape from = at.out(kernels);
       at.h = (from[2] - 1) * at.stride.h + at.wide_h - 2 * at.padding.h;
       at.w = (from[3] - 1) * at.stride.w + at.wide_w - 2 * at.padding.w;
       Tensors points = {d.numbers(from), d.numbers({kernels, at.planes, at.wide_h, at.wide_w})};
       if (biased) points.push_back(d.numbers({at.planes}));
       return Example{
           points,
           [=](const Vars& v) {
             return biased ? conv_transpose2d(v[0], v[1], v[2], at.stride, at.padding)
                           : conv_transpose2d(v[0], v[1], at.stride, at.padding);
           },
           [=](const Arrays& x) {
             Array y{at.shape(), Row(size_of(at.shape()))};
             for (std::size_t k = 0; k < x[0].x.size(); ++k) {
               const Shape place = plain::places(from, k);
               for (std::size_t c = 0; c < at.planes; ++c)
                 at.at(place[2], place[3], [&](std::size_t u, std::size_t v, std::size_t pixel) {
                   const std::size_t kernel = place[1] * at.planes + c;
                   y.x[(place[0] * at.planes + c) * at.h * at.w + pixel] +=
                       x[0].x[k] * x[1].x[(kernel * at.wide_h + u) * at.wide_w + v];
                 });
             }
             for (std::size_t k = 0; biased && k < y.x.size(); ++k)
               y.x[k] += x[2].x[plain::places(y.shape, k)[1]];
             return y;
           },
           at.words()};
     }},
    {"max_pool2d",
     [](Draws& d) {
       return pooling(d, CALL(max_pool2d),
                      [](const Row& seen) { return seen[plain::place_of_largest(seen)]; });
     }},
    {"avg_pool2d", [](Draws& d) { return pooling(d, CALL(avg_pool2d), average); }},
};
