#include "ops/kernels/sinkhorn_solver.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/kernels/row_kernels.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace {

// K's numbers below the smallest normal one are lost; times two factors of this size they are still
// far below rounding.
constexpr Scalar kMost = sizeof(Scalar) == 8 ? Scalar(1e100) : Scalar(1e8);

// converge() starts where logits differ by no more than kWarm temperatures, and lowers the
// temperature kCooling-fold whenever the rows are within kLoose. After kPatience iterations it
// takes a Newton step, and every kPeriod from then on. It aims a little below the tolerance, for
// the matrix's own rounding.
constexpr double kWarm = 50, kCooling = 4, kLoose = 0.1, kMargin = 0.75;
constexpr std::size_t kPatience = 16, kPeriod = 8;

// out = sum over r of weights[r] * row r, for rows of `stride` numbers, some lanes at a time.
template <std::size_t C>
void weighted_lanes(const Scalar* rows, std::size_t n, std::size_t stride, const Scalar* weights,
                    Scalar* out) {
  Lane even[C], odd[C];
  for (std::size_t c = 0; c < C; ++c) even[c] = odd[c] = Lane(0);
  std::size_t r = 0;
  for (; r + 2 <= n; r += 2, rows += 2 * stride) {
    const Lane w(weights[r]), x(weights[r + 1]);
    for (std::size_t c = 0; c < C; ++c) {
      even[c] = xsimd::fma(w, Lane::load_aligned(rows + c * kLane), even[c]);
      odd[c] = xsimd::fma(x, Lane::load_aligned(rows + stride + c * kLane), odd[c]);
    }
  }
  if (r < n)
    for (std::size_t c = 0; c < C; ++c)
      even[c] = xsimd::fma(Lane(weights[r]), Lane::load_aligned(rows + c * kLane), even[c]);
  for (std::size_t c = 0; c < C; ++c) (even[c] + odd[c]).store_aligned(out + c * kLane);
}

void weighted_sum(const Scalar* rows, std::size_t n, std::size_t stride, const Scalar* weights,
                  Scalar* out) {
  std::size_t at = 0;
  for (; at + 4 * kLane <= stride; at += 4 * kLane)
    weighted_lanes<4>(rows + at, n, stride, weights, out + at);
  if (stride - at >= 2 * kLane) {
    weighted_lanes<2>(rows + at, n, stride, weights, out + at);
    at += 2 * kLane;
  }
  if (at < stride) weighted_lanes<1>(rows + at, n, stride, weights, out + at);
}

// d[i][j] += k[i][j] * sum over h of left[h][i] right[h][j], for R rows and C lanes.
template <std::size_t R, std::size_t C>
void add_products_at(const Scalar* const* left, const Scalar* const* right, std::size_t count,
                     std::size_t i, std::size_t j, std::size_t stride, const Scalar* k, Scalar* d) {
  Lane m[R][C];
  for (std::size_t r = 0; r < R; ++r)
    for (std::size_t c = 0; c < C; ++c) m[r][c] = Lane(0);
  for (std::size_t h = 0; h < count; ++h) {
    Lane y[C];
    for (std::size_t c = 0; c < C; ++c) y[c] = Lane::load_aligned(right[h] + j + c * kLane);
    for (std::size_t r = 0; r < R; ++r) {
      const Lane x(left[h][i + r]);
      for (std::size_t c = 0; c < C; ++c) m[r][c] = xsimd::fma(x, y[c], m[r][c]);
    }
  }
  for (std::size_t r = 0; r < R; ++r)
    for (std::size_t c = 0; c < C; ++c) {
      const std::size_t at = (i + r) * stride + j + c * kLane;
      xsimd::fma(Lane::load_aligned(k + at), m[r][c], Lane::load_aligned(d + at))
          .store_aligned(d + at);
    }
}

template <std::size_t R>
void add_products_rows(const Scalar* const* left, const Scalar* const* right, std::size_t count,
                       std::size_t i, std::size_t stride, const Scalar* k, Scalar* d) {
  std::size_t j = 0;
  for (; j + 4 * kLane <= stride; j += 4 * kLane)
    add_products_at<R, 4>(left, right, count, i, j, stride, k, d);
  for (; j < stride; j += kLane) add_products_at<R, 1>(left, right, count, i, j, stride, k, d);
}

void add_products(const Scalar* const* left, const Scalar* const* right, std::size_t count,
                  std::size_t n, std::size_t stride, const Scalar* k, Scalar* d) {
  std::size_t i = 0;
  for (; i + 4 <= n; i += 4) add_products_rows<4>(left, right, count, i, stride, k, d);
  for (; i < n; ++i) add_products_rows<1>(left, right, count, i, stride, k, d);
}

}  // namespace

SinkhornSolver::SinkhornSolver(std::size_t n, double tau, bool remember)
    : n_(n),
      stride_((n + kLane - 1) / kLane * kLane),
      target_(1 / tau),
      remember_(remember),
      k_(n * stride_),
      transposed_(n * stride_),
      a_(stride_),
      b_(stride_),
      sums_(stride_),
      next_(stride_),
      u_(n),
      v_(n) {}

void SinkhornSolver::exponentials(const double* u, const double* v) {
  for (std::size_t i = 0; i < n_; ++i) {
    const Scalar* x = logits_ + i * n_;
    Scalar* y = k_.data() + i * stride_;
    const double slope = slope_, less = u[i];
#pragma omp simd
    for (std::size_t j = 0; j < n_; ++j)
      y[j] = static_cast<Scalar>(slope * static_cast<double>(x[j]) - less - v[j]);
    std::fill(y + n_, y + stride_, kLowest);
    for (std::size_t j = 0; j < stride_; j += kLane)
      lane_exp(Lane::load_aligned(y + j)).store_aligned(y + j);
  }
  const Scalar* k = k_.data();
  Scalar* t = transposed_.data();
  const std::size_t n = n_, stride = stride_;
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < n; ++i) t[j * stride + i] = k[i * stride + j];
}

// K anew, such that the largest number of each row (or column) is 1.
void SinkhornSolver::absorb(bool rows) {
  Array<Scalar>& factors = rows ? b_ : a_;
  Array<double>& kept = rows ? v_ : u_;
  for (std::size_t i = 0; i < n_; ++i) {
    kept[i] -= std::log(static_cast<double>(factors[i]));
    factors[i] = 1;
  }
  if (!rows) std::fill(v_.begin(), v_.end(), -std::numeric_limits<double>::infinity());
  for (std::size_t i = 0; i < n_; ++i) {
    const Scalar* x = logits_ + i * n_;
    const double slope = slope_;
    double *v = v_.data(), largest = -std::numeric_limits<double>::infinity();
    if (rows) {
#pragma omp simd reduction(max : largest)
      for (std::size_t j = 0; j < n_; ++j) {
        const double y = slope * static_cast<double>(x[j]) - v[j];
        largest = y > largest ? y : largest;
      }
      u_[i] = largest;
    } else {
      const double less = u_[i];
#pragma omp simd
      for (std::size_t j = 0; j < n_; ++j) {
        const double y = slope * static_cast<double>(x[j]) - less;
        v[j] = y > v[j] ? y : v[j];
      }
    }
  }
  exponentials(u_.data(), v_.data());
  if (!remember_) return;
  starts_.push_back(steps_);
  potentials_.insert(potentials_.end(), u_.begin(), u_.end());
  potentials_.insert(potentials_.end(), v_.begin(), v_.end());
}

void SinkhornSolver::start(const Scalar* logits, double slope) {
  logits_ = logits;
  slope_ = slope;
  steps_ = 0;
  factors_.clear(), potentials_.clear(), starts_.clear();
  std::fill(v_.begin(), v_.end(), 0.0);
  std::fill_n(b_.begin(), n_, Scalar(1));
  absorb(true);
}

void SinkhornSolver::sum(bool rows) {
  weighted_sum(rows ? transposed_.data() : k_.data(), n_, stride_, rows ? b_.data() : a_.data(),
               sums_.data());
  std::fill(sums_.begin() + static_cast<std::ptrdiff_t>(n_), sums_.end(), Scalar(1));
}

// The reciprocals of the sums; whether all of them are of a size to work with.
bool SinkhornSolver::invert(Scalar* factors) const {
  Lane largest(0);
  for (std::size_t i = 0; i < stride_; i += kLane) {
    const Lane f = Lane(1) / Lane::load_aligned(sums_.data() + i);
    f.store_aligned(factors + i);
    largest = xsimd::max(largest, f);
  }
  return lane_max(largest) <= kMost;
}

// After sum(): what makes the sums one.
void SinkhornSolver::scale(bool rows) {
  Array<Scalar>& factors = rows ? a_ : b_;
  if (invert(next_.data())) {
    factors.swap(next_);
  } else {
    absorb(rows);
    sum(rows);
    invert(factors.data());
  }
  if (remember_) factors_.insert(factors_.end(), factors.begin(), factors.end());
  ++steps_;
}

void SinkhornSolver::iterate(const Scalar* logits, std::size_t iterations) {
  start(logits, target_);
  if (remember_) factors_.reserve(2 * iterations * stride_);
  for (std::size_t k = 0; k < iterations; ++k)
    for (bool rows : {true, false}) {
      sum(rows);
      scale(rows);
    }
}

// The potentials minimise the sum of e^{x - u - v}, u and v, a convex function whose gradient is 1
// less the row and column sums. A full step could overshoot without bound; one shortened to
// log(1 + d) / d, where d is the most that it moves any logarithm, never goes up (T. Sun and Q.
// Tran-Dinh, "Generalized self-concordant functions", 2019, for nu = 2).
void SinkhornSolver::newton(SinkhornImplicit& marginals) {
  p_.resize(n_ * n_);
  write(p_.data());
  moves_.assign(2 * n_, -1.0);
  double *u = moves_.data(), *v = u + n_;
  for (std::size_t i = 0; i < n_; ++i)
    for (std::size_t j = 0; j < n_; ++j) {
      const auto p = static_cast<double>(p_[i * n_ + j]);
      u[i] += p;
      v[j] += p;
    }
  marginals.solve(p_.data(), u, v);
  const auto [u_low, u_high] = std::minmax_element(u, v);
  const auto [v_low, v_high] = std::minmax_element(v, v + n_);
  const double most = std::max(*u_high + *v_high, -(*u_low + *v_low));
  const double length = most > 0 ? std::log1p(most) / most : 1;
  for (std::size_t i = 0; i < n_; ++i) {
    u_[i] += length * u[i] - std::log(static_cast<double>(a_[i]));
    v_[i] += length * v[i] - std::log(static_cast<double>(b_[i]));
    a_[i] = b_[i] = 1;
  }
  exponentials(u_.data(), v_.data());
}

// The largest |row sum - 1|, after sum(true).
double SinkhornSolver::residual() const {
  Lane farthest(0);
  for (std::size_t i = 0; i < stride_; i += kLane)
    farthest = xsimd::max(farthest, xsimd::abs(Lane::load_aligned(a_.data() + i) *
                                                   Lane::load_aligned(sums_.data() + i) -
                                               Lane(1)));
  return static_cast<double>(lane_max(farthest));
}

std::size_t SinkhornSolver::converge(const Scalar* logits, double tolerance, std::size_t most,
                                     SinkhornImplicit& marginals) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (std::size_t k = 0; k < n_ * n_; ++k) {
    const auto x = static_cast<double>(logits[k]);
    high = x > high ? x : high;
    low = logits[k] > kLowest && x < low ? x : low;
  }
  start(logits, high > low ? std::min(target_, kWarm / (high - low)) : target_);
  for (std::size_t k = 0, stage = 0;; ++k, ++stage) {
    sum(true);
    const double far = stage > 0 ? residual() : 1;
    if (slope_ == target_ && (k == most || far <= kMargin * tolerance)) return k;
    if (slope_ != target_ && (far <= kLoose || k + 1 == most)) {
      anneal(k + 1 == most ? target_ : std::min(target_, kCooling * slope_));
      sum(true);
      stage = 0;
    }
    if (stage >= kPatience && k % kPeriod == 0) {
      newton(marginals);
      continue;
    }
    scale(true);
    sum(false);
    scale(false);
  }
}

// Takes the potentials along to a lower temperature.
void SinkhornSolver::anneal(double slope) {
  for (std::size_t i = 0; i < n_; ++i) {
    v_[i] = (v_[i] - std::log(static_cast<double>(b_[i]))) * (slope / slope_);
    b_[i] = 1;
  }
  slope_ = slope;
  absorb(true);
}

Scalar SinkhornSolver::write(Scalar* p) {
  Scalar farthest = 0, total = 0;
  std::fill(sums_.begin(), sums_.end(), Scalar(0));
  for (std::size_t i = 0; i < n_; ++i, p += n_) {
    const Scalar* k = k_.data() + i * stride_;
    const Lane a(a_[i]);
    Lane row(0);
    for (std::size_t j = 0; j < n_; j += kLane) {
      const Lane y = a * Lane::load_aligned(k + j) * Lane::load_aligned(b_.data() + j);
      if (j + kLane <= n_)
        y.store_unaligned(p + j);
      else
        store_some(y, p + j, n_ - j);
      row += y;
      (Lane::load_aligned(sums_.data() + j) + y).store_aligned(sums_.data() + j);
    }
    const Scalar sum = lane_sum(row);
    farthest = std::max(farthest, std::abs(sum - 1));
    total += sum;
  }
  for (std::size_t j = 0; j < n_; ++j) farthest = std::max(farthest, std::abs(sums_[j] - 1));
  return std::isfinite(total) ? farthest : total;
}

// With D the gradient for log p, and for the potentials -(row sums of D) and -(column sums of D):
// v = log sum over i of e^{x - u} hands v's gradient on to x and u by the matrix as it then stood,
// e^{x - u - v} = a K b, and likewise for u. So only vectors go back, and x gets the sum of all
// (a K b) * gradient, for each K a product of two narrow matrices.
void SinkhornSolver::backward(const Scalar* p, const Scalar* g, Scalar* to) {
  Array<Scalar>&u = sums_, &v = next_;
  std::fill(u.begin(), u.end(), Scalar(0));
  std::fill(v.begin(), v.end(), Scalar(0));
  d_.resize(n_ * stride_);
  for (std::size_t i = 0; i < n_; ++i) {
    Scalar* d = d_.data() + i * stride_;
    std::fill(d + stride_ - kLane, d + stride_, Scalar(0));
    map_lanes(
        n_, d, false, [](Lane x, Lane y) { return x * y; }, p + i * n_, g + i * n_);
    for (std::size_t j = 0; j < stride_; j += kLane)
      (Lane::load_aligned(v.data() + j) - Lane::load_aligned(d + j)).store_aligned(v.data() + j);
    u[i] = -row_sum(
        stride_, [](Lane x) { return x; }, d);
  }
  gradients_.resize(steps_ * stride_);
  left_.resize(steps_);
  right_.resize(steps_);
  std::fill(b_.begin(), b_.end(), Scalar(1));
  std::size_t end = steps_;
  for (std::size_t e = starts_.size(); e-- > 0; end = starts_[e]) {
    if (end != steps_)
      exponentials(potentials_.data() + 2 * e * n_, potentials_.data() + (2 * e + 1) * n_);
    for (std::size_t h = end; h-- > starts_[e];) {
      const bool rows = h % 2 == 0;
      const Scalar* own = factors_.data() + h * stride_;
      const Scalar* other = h == starts_[e] ? b_.data() : own - stride_;
      Scalar *mine = gradients_.data() + h * stride_, *from = rows ? u.data() : v.data(),
             *back = rows ? v.data() : u.data();
      for (std::size_t i = 0; i < stride_; i += kLane) {
        (Lane::load_aligned(own + i) * Lane::load_aligned(from + i)).store_aligned(mine + i);
        Lane(0).store_aligned(from + i);
      }
      weighted_sum(rows ? k_.data() : transposed_.data(), n_, stride_, mine, a_.data());
      for (std::size_t i = 0; i < stride_; i += kLane)
        xsimd::fnma(Lane::load_aligned(other + i), Lane::load_aligned(a_.data() + i),
                    Lane::load_aligned(back + i))
            .store_aligned(back + i);
      left_[h] = rows ? mine : other;
      right_[h] = rows ? other : mine;
    }
    add_products(left_.data() + starts_[e], right_.data() + starts_[e], end - starts_[e], n_,
                 stride_, k_.data(), d_.data());
  }
  const Lane slope(static_cast<Scalar>(target_));
  for (std::size_t i = 0; i < n_; ++i)
    map_lanes(
        n_, to + i * n_, false, [=](Lane x) { return slope * x; }, d_.data() + i * stride_);
}

ARGTAPE_END
