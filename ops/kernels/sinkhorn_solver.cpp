#include "ops/kernels/sinkhorn_solver.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/kernels/gather_gemm.hpp"
#include "ops/kernels/laplacian.hpp"
#include "ops/kernels/row_kernels.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// K's numbers below the smallest normal one are lost; times two factors of this size they are still
// far below rounding.
constexpr Scalar kMost = sizeof(Scalar) == 8 ? Scalar(1e100) : Scalar(1e8);

// converge() starts where logits differ by no more than kWarm temperatures, and lowers the
// temperature kCooling-fold whenever the rows are within kLoose. After kPatience iterations it
// takes a Newton step, and every kPeriod from then on. It aims a little below the tolerance, for
// the matrix's own rounding.
constexpr double kWarm = 50, kCooling = 4, kLoose = 0.1, kMargin = 0.75;
constexpr std::size_t kPatience = 16, kPeriod = 8;

// out = sum over r of weights[r] * row r, two of the n rows and C lanes of the `stride` numbers at
// a time. Where n is odd there is one more row, of zeros.
template <std::size_t C>
void weighted_sum(const Scalar* rows, std::size_t n, std::size_t stride, const Scalar* weights,
                  Scalar* out, std::size_t at = 0) {
  for (; at + C * kLane <= stride; at += C * kLane) {
    Lane even[C], odd[C];
    for (std::size_t c = 0; c < C; ++c) even[c] = odd[c] = Lane(0);
    const Scalar* row = rows + at;
    for (std::size_t r = 0; r < n; r += 2, row += 2 * stride) {
      const Lane w(weights[r]), x(weights[r + 1]);
      for (std::size_t c = 0; c < C; ++c) {
        even[c] = xsimd::fma(w, Lane::load_aligned(row + c * kLane), even[c]);
        odd[c] = xsimd::fma(x, Lane::load_aligned(row + stride + c * kLane), odd[c]);
      }
    }
    for (std::size_t c = 0; c < C; ++c) (even[c] + odd[c]).store_aligned(out + at + c * kLane);
  }
  if constexpr (C > 1) weighted_sum<C / 2>(rows, n, stride, weights, out, at);
}

}  // namespace

SinkhornSolver::SinkhornSolver(std::size_t n, double tau, bool remember)
    : n_(n),
      stride_((n + kLane - 1) / kLane * kLane),
      target_(1 / tau),
      remember_(remember),
      largest_(n),
      sums_(stride_) {
  k_.fill(Array<Scalar>((n + 1) * stride_));
  factors_.fill(Array<Scalar>(stride_));
  potentials_.fill(Array<double>(n));
}

void SinkhornSolver::exponentials() {
  const double slope = slope_, *v = potentials_[kColumns].data();
  for (std::size_t i = 0; i < n_; ++i) {
    const Scalar* x = logits_ + i * n_;
    Scalar* y = k_[kColumns].data() + i * stride_;
    const double largest = largest_[i], less = potentials_[kRows][i];
#pragma omp simd
    for (std::size_t j = 0; j < n_; ++j)
      y[j] = static_cast<Scalar>(slope * (static_cast<double>(x[j]) - largest) - less - v[j]);
    std::fill(y + n_, y + stride_, kMinusInf);
    for (std::size_t j = 0; j < stride_; j += kLane)
      lane_exp(Lane::load_aligned(y + j)).store_aligned(y + j);
  }
  const Scalar* k = k_[kColumns].data();
  Scalar* t = k_[kRows].data();
  const std::size_t n = n_, stride = stride_;
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < n; ++i) t[j * stride + i] = k[i * stride + j];
}

// Moves factors into potentials.
void SinkhornSolver::fold(Side side) {
  for (std::size_t i = 0; i < n_; ++i) {
    potentials_[side][i] -= std::log(static_cast<double>(factors_[side][i]));
    factors_[side][i] = 1;
  }
}

// K anew, such that the largest number of each row (or column) is 1.
void SinkhornSolver::absorb(Side side) {
  fold(other(side));
  Array<double>& own = potentials_[side];
  const Array<double>& across = potentials_[other(side)];
  std::fill(own.begin(), own.end(), -kInf);
  for (std::size_t i = 0; i < n_; ++i)
    for (std::size_t j = 0; j < n_; ++j) {
      const std::size_t mine = side == kRows ? i : j, its = side == kRows ? j : i;
      const double x = static_cast<double>(logits_[i * n_ + j]) - largest_[i];
      own[mine] = std::max(own[mine], slope_ * x - across[its]);
    }
  renew();
}

void SinkhornSolver::renew() {
  exponentials();
  if (remember_) absorbed_.push_back({history_.size() / stride_, potentials_});
}

void SinkhornSolver::read(const Scalar* logits) {
  logits_ = logits;
  for (std::size_t i = 0; i < n_; ++i, logits += n_)
    largest_[i] = static_cast<double>(logits[row_extreme<false>(logits, n_)]);
}

void SinkhornSolver::start(double slope) {
  slope_ = slope;
  if (remember_) history_.assign(stride_, 1);
  absorbed_.clear();
  for (Array<double>& u : potentials_) std::fill(u.begin(), u.end(), 0.0);
  std::fill_n(factors_[kColumns].begin(), n_, Scalar(1));
  renew();  // the largest number of each row is 1
}

void SinkhornSolver::sum(Side side) {
  weighted_sum<4>(k_[side].data(), n_, stride_, factors_[other(side)].data(), sums_.data());
  std::fill(sums_.begin() + static_cast<std::ptrdiff_t>(n_), sums_.end(), Scalar(1));
}

// Factors that are the reciprocals of the sums; whether all of them are of a size to work with.
bool SinkhornSolver::invert(Side side) {
  Lane largest(0);
  for (std::size_t i = 0; i < stride_; i += kLane) {
    const Lane f = Lane(1) / Lane::load_aligned(sums_.data() + i);
    f.store_aligned(factors_[side].data() + i);
    largest = xsimd::max(largest, f);
  }
  return lane_max(largest) <= kMost;
}

// After sum(): what makes the sums one.
void SinkhornSolver::scale(Side side) {
  if (!invert(side)) {
    absorb(side);
    sum(side);
    invert(side);
  }
  if (remember_) history_.insert(history_.end(), factors_[side].begin(), factors_[side].end());
}

void SinkhornSolver::iterate(const Scalar* logits, std::size_t iterations) {
  read(logits);
  start(target_);
  for (std::size_t k = 0; k < iterations; ++k)
    for (Side side : {kRows, kColumns}) {
      sum(side);
      scale(side);
    }
}

// The potentials minimise the sum of e^{x - u - v}, u and v, a convex function whose gradient is 1
// less the row and column sums. A full step could overshoot without bound; one shortened to
// log(1 + d) / d, where d is the most that it moves any logarithm, never goes up (T. Sun and Q.
// Tran-Dinh, "Generalized self-concordant functions", 2019, for nu = 2).
void SinkhornSolver::newton() {
  Array<Scalar> p(n_ * n_);
  write(p.data());
  Pair<double> moves{Array<double>(n_), Array<double>(n_)};
  fit_marginals(n_, p.data(), p.data(), 1, moves[kRows].data(), moves[kColumns].data());
  double lowest = 0, highest = 0;
  for (const Array<double>& m : moves) {
    const auto [low, high] = std::minmax_element(m.begin(), m.end());
    lowest += *low;
    highest += *high;
  }
  const double most = std::max(highest, -lowest), length = most > 0 ? std::log1p(most) / most : 1;
  for (Side side : {kRows, kColumns}) {
    fold(side);
    for (std::size_t i = 0; i < n_; ++i) potentials_[side][i] += length * moves[side][i];
  }
  exponentials();
}

// After sum(): the largest |sum - 1|, or something not finite if a sum is not.
double SinkhornSolver::residual(Side side) const {
  Lane farthest(0), total(0);
  for (std::size_t i = 0; i < stride_; i += kLane) {
    const Lane sums =
        Lane::load_aligned(factors_[side].data() + i) * Lane::load_aligned(sums_.data() + i);
    farthest = xsimd::max(farthest, xsimd::abs(sums - Lane(1)));
    total += sums;
  }
  const Scalar all = lane_sum(total);
  return static_cast<double>(std::isfinite(all) ? lane_max(farthest) : all);
}

double SinkhornSolver::residual() {
  double most = 0;
  for (Side side : {kRows, kColumns}) {
    sum(side);
    const double far = residual(side);
    if (!(far <= most)) most = far;
  }
  return most;
}

std::size_t SinkhornSolver::converge(const Scalar* logits, double tolerance, std::size_t most) {
  read(logits);
  double range = 0;
  for (std::size_t k = 0; k < n_ * n_; ++k)
    if (logits[k] > kMinusInf)
      range = std::max(range, largest_[k / n_] - static_cast<double>(logits[k]));
  start(std::min(target_, kWarm / range));
  for (std::size_t k = 0, stage = 0;; ++k, ++stage) {
    sum(kRows);
    const double far = stage > 0 ? residual(kRows) : 1;
    if (slope_ == target_ && (k == most || !(far > kMargin * tolerance))) return k;
    if (slope_ != target_ && (!(far > kLoose) || k + 1 == most)) {
      const double next = k + 1 == most ? target_ : std::min(target_, kCooling * slope_);
      fold(kColumns);
      for (double& v : potentials_[kColumns]) v *= next / slope_;
      slope_ = next;
      absorb(kRows);
      sum(kRows);
      stage = 0;
    }
    if (stage >= kPatience && k % kPeriod == 0) {
      newton();
      continue;
    }
    scale(kRows);
    sum(kColumns);
    scale(kColumns);
  }
}

void SinkhornSolver::write(Scalar* p) const {
  for (std::size_t i = 0; i < n_; ++i)
    map_lanes(
        n_, p + i * n_, false, [a = Lane(factors_[kRows][i])](Lane k, Lane b) { return a * k * b; },
        k_[kColumns].data() + i * stride_, factors_[kColumns].data());
}

// With D the gradient for log p, and for the potentials -(row sums of D) and -(column sums of D):
// v = log sum over i of e^{x - u} hands v's gradient on to x and u by the matrix as it then stood,
// e^{x - u - v} = a K b, and likewise for u. So only vectors go back, and x gets the sum of all
// (a K b) * gradient, for each K a product of two narrow matrices.
void SinkhornSolver::backward(const Scalar* p, const Scalar* g, Scalar* to) {
  Pair<Scalar> back{Array<Scalar>(stride_), Array<Scalar>(stride_)};
  const Lane slope(static_cast<Scalar>(target_));
  for (std::size_t i = 0; i < n_; ++i) {
    Scalar* d = to + i * n_;
    map_lanes(
        n_, d, false, [=](Lane x, Lane y) { return slope * x * y; }, p + i * n_, g + i * n_);
    map_lanes(
        n_, back[kColumns].data(), true, [](Lane x) { return -x; }, d);
    back[kRows][i] = -row_sum(
        n_, [](Lane x) { return x; }, d);
  }
  // By half iterations, from 1 on: where in the history the factors of rows and columns start, one
  // of them times its gradient, which stands behind all factors.
  const std::size_t steps = history_.size() / stride_;
  history_.resize(2 * steps * stride_);
  Pair<std::size_t> at{Array<std::size_t>(steps), Array<std::size_t>(steps)};
  Array<std::size_t> places(n_), rows(n_);
  for (std::size_t i = 0; i < n_; ++i) places[i] = i, rows[i] = i * stride_;
  Array<Scalar> products(n_ * stride_);
  std::size_t end = steps;
  for (std::size_t e = absorbed_.size(); e-- > 0; end = absorbed_[e].step) {
    const std::size_t begin = absorbed_[e].step;
    if (end != steps) {
      potentials_ = absorbed_[e].potentials;
      exponentials();
    }
    for (std::size_t h = end; h-- > begin;) {
      const Side side = h % 2 == 1 ? kRows : kColumns, across = other(side);
      at[side][h] = (steps + h) * stride_;
      at[across][h] = h == begin ? 0 : (h - 1) * stride_;
      Scalar *mine = history_.data() + at[side][h], *from = back[side].data();
      map_lanes(
          stride_, mine, false, [](Lane f, Lane x) { return f * x; }, history_.data() + h * stride_,
          from);
      std::fill_n(from, stride_, Scalar(0));
      weighted_sum<4>(k_[across].data(), n_, stride_, mine, sums_.data());
      map_lanes(
          stride_, back[across].data(), true, [](Lane f, Lane x) { return -f * x; },
          history_.data() + at[across][h], sums_.data());
    }
    gather_gemm(
        n_, stride_, end - begin, {history_.data(), places.data(), at[kRows].data() + begin},
        {history_.data(), at[kColumns].data() + begin}, {products.data(), rows.data()}, false);
    for (std::size_t i = 0; i < n_; ++i)
      map_lanes(
          n_, to + i * n_, true, [](Lane k, Lane m) { return k * m; },
          k_[kColumns].data() + i * stride_, products.data() + i * stride_);
  }
}

ARGTAPE_END
