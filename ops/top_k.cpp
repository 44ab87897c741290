#include "ops/top_k.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "engine/refuse_row.hpp"
#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/kernels/logits.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/kernels/rows.hpp"
#include "ops/loss.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/decision.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

using Places = std::vector<std::size_t>;

// Of each row of logits + noise the places of the k largest, from the largest down; on ties the
// first. `noise` may be null.
Places largest_places(const std::string& op, const Tensor& logits, const Tensor* noise,
                      std::size_t k) {
  require_possible(op, logits, k);
  const Rows rows(logits.shape());
  const std::size_t n = rows.length;
  Places found(rows.count * k);
  parallel_for(rows.count, rows_of_grain(n), [&](std::size_t begin, std::size_t end) {
    Tensor sum = uninitialised({n});
    Places order(n);
    const Scalar* x = sum.data();
    for (std::size_t r = begin; r < end; ++r) {
      ResultRow y{r, n, sum.data()};
      NoisyRow row = TensorRows(logits, noise).noisy(y);
      const Scalar largest = row_argmax(n, row).value;
      if (!std::isfinite(largest)) refuse_row(op, logits, r);
      row.settle(largest);
      y = row;
      std::iota(order.begin(), order.end(), std::size_t{0});
      const auto kth = order.begin() + static_cast<std::ptrdiff_t>(k);
      for (auto next = order.begin(); next != kth;) {
        std::partial_sort(next, kth, order.end(), [x](std::size_t a, std::size_t b) {
          return x[a] > x[b] || (x[a] == x[b] && a < b);
        });
        // So far below what was taken that the noise has lost its digits, they are compared again.
        next = std::find_if(next + 1, kth, [&](std::size_t i) { return row.loses_noise(x[i]); });
        if (next == kth) break;
        const auto logit = [&](std::size_t i) { return row.x.x[i]; };
        Scalar most = kMinusInf;
        std::for_each(next, order.end(), [&](std::size_t i) { most = std::max(most, logit(i)); });
        std::for_each(next, order.end(),
                      [&](std::size_t i) { sum.data()[i] = logit(i) - most + row.noise.x[i]; });
      }
      std::copy(order.begin(), kth, found.begin() + static_cast<std::ptrdiff_t>(r * k));
    }
  });
  return found;
}

Shape rows_shape(const Shape& logits) { return Shape(logits.begin(), logits.end() - 1); }

// -inf for rows where something forbidden was chosen, which leaves no number.
Var unless_forbidden(Var chosen, Var log_p) {
  return where(equal(min(chosen, -1), kMinusInf), kMinusInf, log_p);
}

Var score(const Draw& draw, Var weight) {
  const Var l = draw.logits;
  const std::size_t k = draw.decision->k;
  const Var log_p =
      k <= kMostUnordered
          ? top_k_log_prob(l, draw.hard())
          : plackett_luce_log_prob(l, largest_places("top_k", l.value(), &draw.noise.value(), k));
  return differentiate(log_p, l, weight)[0];
}

// The node itself, along the last axis. `noise` is empty for top_k.
Var choose(const char* verb, Var logits, std::size_t k, const Rule& rule, Var noise) {
  Op op = op_with(verb, rule, AppliesTo::subset, noise.tape);
  const Tensor& l = logits.value();
  const std::size_t n = l.shape().back();
  const bool fixed = k == 0 || k == n;
  Tensor value;
  if (rule.soft_tau > 0 && !fixed) {
    require_possible(op.name, l, k);
  } else {
    const Places places = largest_places(op.name, l, noise.tape ? &noise.value() : nullptr, k);
    value = zeros(l.shape());
    for (std::size_t i = 0; i < places.size(); ++i) value.data()[i / k * n + places[i]] = 1;
  }
  const Decision decision{AppliesTo::subset, 1,
                          [](Var x, std::size_t k) { return top_k(x, k, zero()); }, score, k};
  static const Rule nothing = zero();
  if (fixed) op = Op(op.name, Flow::cut, "It takes none or all: there is nothing to choose.");
  return record_decision(std::move(op), fixed ? nothing : rule, decision, logits, noise,
                         std::move(value));
}

}  // namespace

Var top_k(Var logits, std::size_t k, const Rule& rule, int axis) {
  return along_categories("top_k", logits, k, axis,
                          [&](Var l) { return choose("top_k", l, k, rule, {}); });
}

Var sample_top_k(Var logits, std::size_t k, const Rule& rule, Rng& rng, int axis) {
  return along_categories("sample_top_k", logits, k, axis, [&](Var l) {
    return choose("sample_top_k", l, k, rule,
                  l.tape->constant(rng.gumbel(l.shape()), "gumbel noise"));
  });
}

Var sample_top_k(Var logits, std::size_t k, const Rule& rule, Var noise, int axis) {
  const Var g = given_noise("sample_top_k", logits, noise, axis);
  return along_categories("sample_top_k", logits, k, axis,
                          [&](Var l) { return choose("sample_top_k", l, k, rule, g); });
}

namespace {

// Of each row the places of its ones; their number is `k`.
Places places_of(Var subset, std::size_t& k) {
  const Tensor& s = subset.value();
  const std::size_t n = s.shape().back();
  Places places;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s.data()[i] == 1) places.push_back(i % n);
    require(s.data()[i] == 0 || s.data()[i] == 1, "top_k_log_prob: row ", i / n,
            " of the subset has ", static_cast<double>(s.data()[i]), "; need 0 and 1");
    if (i + 1 == n) k = places.size();
    require((i + 1) % n || places.size() == (i / n + 1) * k, "top_k_log_prob: rows 0 and ", i / n,
            " of the subset differ in how many ones they have; need as many");
  }
  return places;
}

}  // namespace

// With weights w = e^l, R their sum outside of the set, and A a part of it that is left: the
// probability h(A) that A is drawn before anything outside is, in any order, is sum_{i in A} w_i
// h(A - i) / (R + sum of A), and 1 for A empty. In logarithms, all parts of a size at a time.
Var top_k_log_prob(Var logits, Var subset) {
  tape_of("top_k_log_prob", {logits, subset});
  require(!logits.shape().empty() && logits.shape() == subset.shape() && logits.shape().back() > 0,
          "top_k_log_prob: logits are ", logits.shape(), ", the subset is ", subset.shape(),
          "; need the same shape, (..., n)");
  std::size_t k = 0;
  const Places places = places_of(subset, k);
  require(k <= kMostUnordered, "top_k_log_prob: k is ", k, "; need at most ", kMostUnordered,
          ", or an order and plackett_luce_log_prob()");
  const Shape rows = rows_shape(logits.shape());
  if (k == 0) return logits.tape->constant(zeros(rows));
  const std::size_t all_parts = std::size_t{1} << k;
  Tensor left = zeros({all_parts - 1, k + 1});  // of R and the w_i, with A, as bits, left
  for (std::size_t part = 1; part < all_parts; ++part)
    for (std::size_t i = 0; i <= k; ++i) left(part - 1, i) = i == 0 || part >> (i - 1) & 1;
  // Beside what is outside: whatever lies far above it is drawn before, in whatever order.
  const Var outside = where(subset, kMinusInf, logits),
            x = without_offset(logits, &outside.value()), chosen = take_along_axis(x, places),
            all = concatenate({logsumexp(where(subset, kMinusInf, x), -1, keep_axes), chosen}, -1),
            next = log_softmax(where(x.tape->constant(left), expand_dims(all, -2), kMinusInf));
  const Var log_p = reshape(next, with_axis(rows, rows.size(), left.size()));
  Var h = x.tape->constant(zeros(with_axis(rows, rows.size(), 1)));
  Places place_of(all_parts, 0);  // of a part among those of its size
  for (std::size_t size = 1; size <= k; ++size) {
    Places first, before;
    std::size_t parts = 0;
    for (std::size_t part = 0; part < place_of.size(); ++part) {
      Places members;
      for (std::size_t i = 0; i < k; ++i)
        if (part >> i & 1) members.push_back(i);
      if (members.size() != size) continue;
      place_of[part] = parts++;
      for (std::size_t i : members) {
        first.push_back((part - 1) * (k + 1) + 1 + i);
        before.push_back(place_of[part ^ std::size_t{1} << i]);
      }
    }
    const Var each = take(log_p, first, -1) + take(h, before, -1);
    const Shape table = with_axis(with_axis(rows, rows.size(), parts), rows.size() + 1, size);
    h = size == 1 ? each : logsumexp(reshape(each, table), -1);
  }
  return unless_forbidden(chosen, squeeze(h, -1));
}

Var plackett_luce_log_prob(Var logits, const std::vector<std::size_t>& order) {
  const char* op = "plackett_luce_log_prob";
  tape_of(op, {logits});
  const Shape& shape = logits.shape();
  const std::size_t n = shape.empty() ? 0 : shape.back(), count = n ? logits.value().size() / n : 0;
  const std::size_t k = count ? order.size() / count : 0;
  require(n > 0 && k <= n && k * count == order.size(), op, ": logits are ", shape, ", places are ",
          order.size(), "; need the same number for each row, n at most");
  if (k == 0) return logits.tape->constant(zeros(rows_shape(shape)));
  // For each draw what had been taken before.
  Tensor taken = zeros(with_axis(shape, shape.size() - 1, k));
  for (std::size_t i = 0; i < order.size(); ++i) {
    require(order[i] < n, op, ": place ", order[i], " in row ", i / k, "; need less than ", n);
    Scalar* row = taken.data() + i * n;
    if (i % k) std::copy_n(row - n, n, row), row[order[i - 1]] = 1;
    require(row[order[i]] == 0, op, ": place ", order[i], " twice in row ", i / k,
            "; need each once");
  }
  const Var left =
      where(logits.tape->constant(std::move(taken)), kMinusInf, expand_dims(logits, -2));
  return unless_forbidden(take_along_axis(logits, order), -sum(cross_entropy(left, order), -1));
}

ARGTAPE_END
