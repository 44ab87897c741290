// The Sinkhorn operator against its definition in logarithms, its gradients, its limits, its
// errors.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/gradcheck.hpp"
#include "engine/random.hpp"
#include "engine/sweep.hpp"
#include "engine/threads.hpp"
#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"
#include "ops/sinkhorn.hpp"
#include "ops/softmax.hpp"
#include "tests/distance.hpp"
#include "tests/refuses.hpp"
#include "tests/vjp_of.hpp"

using namespace argtape;
using Vars = std::vector<Var>;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNan = std::numeric_limits<double>::quiet_NaN();

double log_sum_exp(const std::vector<double>& x) {
  const double m = *std::max_element(x.begin(), x.end());
  double s = 0;
  for (double v : x) s += std::exp(v - m);
  return m + std::log(s);
}

// The logarithm of one matrix after so many iterations, as it is defined.
std::vector<double> definition(const Scalar* x, std::size_t n, double tau, std::size_t iterations) {
  std::vector<double> y(n * n), line(n);
  for (std::size_t k = 0; k < n * n; ++k) y[k] = x[k] / tau;
  for (std::size_t k = 0; k < 2 * iterations; ++k) {
    const std::size_t along = k % 2 == 0 ? 1 : n, across = k % 2 == 0 ? n : 1;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) line[j] = y[i * across + j * along];
      const double total = log_sum_exp(line);
      for (std::size_t j = 0; j < n; ++j) y[i * across + j * along] -= total;
    }
  }
  return y;
}

// The largest |row sum - 1| and |column sum - 1| over a batch.
double residual(const Tensor& p, std::size_t n) {
  double most = 0;
  for (std::size_t m = 0; m < p.size() / (n * n); ++m)
    for (std::size_t i = 0; i < n; ++i) {
      double row = 0, column = 0;
      for (std::size_t j = 0; j < n; ++j) {
        row += p.data()[(m * n + i) * n + j];
        column += p.data()[(m * n + j) * n + i];
      }
      most = worse(most, worse(std::abs(row - 1), std::abs(column - 1)));
    }
  return most;
}

Tensor gradient(const Tensor& logits, const Tensor& cotangent, double tau, std::size_t iterations) {
  Tape tape;
  const Var x = tape.parameter(logits);
  return backward({sinkhorn(x, tau, iterations)}, {}, {tape.constant(cotangent)})[x];
}

}  // namespace

TEST_CASE("iterations as they are defined, in logarithms") {
  Rng rng(1);
  for (double tau : {1.0, 0.3, 0.1, 0.03, 0.01})
    for (std::size_t n : {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{8},
                          std::size_t{17}, std::size_t{37}, std::size_t{120}})
      for (std::size_t iterations : {std::size_t{1}, std::size_t{2}, std::size_t{20}}) {
        CAPTURE(tau);
        CAPTURE(n);
        CAPTURE(iterations);
        Tape tape;
        const Tensor x = rng.normal({2, 3, n, n}) + rng.gumbel({2, 3, n, n});
        const Sinkhorn s = sinkhorn(tape.constant(x), tau, iterations);
        const Tensor& p = s.matrices.value();
        REQUIRE(p.shape() == x.shape());
        for (std::size_t m = 0; m < 6; ++m) {
          const std::vector<double> y = definition(x.data() + m * n * n, n, tau, iterations);
          for (std::size_t k = 0; k < n * n; ++k)
            REQUIRE(p.data()[m * n * n + k] == doctest::Approx(std::exp(y[k])).epsilon(1e-9));
        }
        CHECK(s.residual == doctest::Approx(residual(p, n)).epsilon(1e-9));
        CHECK(s.iterations == iterations);
      }
}

TEST_CASE("extreme logits and forbidden pairs, as the definition has them") {
  Rng rng(2);
  for (double scale : {1e2, 1e4})
    for (std::size_t n : {std::size_t{5}, std::size_t{20}})
      for (std::size_t iterations : {std::size_t{1}, std::size_t{3}, std::size_t{50}}) {
        CAPTURE(scale);
        CAPTURE(n);
        CAPTURE(iterations);
        Tensor x = rng.uniform({n, n}, -scale, scale);
        for (std::size_t i = 0; i < n; ++i)  // a band is left, so the diagonal at least
          for (std::size_t j = 0; j < n; ++j)
            if ((i + n - j) % n > 2) x(i, j) = -kInf;
        x(0, 0) = scale, x(1, 0) = scale, x(2, 2) = -scale;
        Tape tape;
        const Tensor p = sinkhorn(tape.constant(x), 0.01, iterations).matrices.value();
        const std::vector<double> y = definition(x.data(), n, 0.01, iterations);
        for (std::size_t k = 0; k < n * n; ++k) {
          // y itself has lost digits: it is a difference of numbers of scale / tau.
          const double e = std::exp(y[k]);
          CHECK(std::abs(p.data()[k] - e) <= 1e-13 * (scale / 0.01) * e + 1e-290);
          if (x.data()[k] == -kInf) CHECK(p.data()[k] == 0);
        }
      }
}

TEST_CASE("nothing overflows, and the residual is what the published iterations leave") {
  // Mean over 200 matrices of the largest |row sum - 1| after 10, 20, 200, 2000 iterations, n = 8.
  const std::vector<std::pair<double, std::vector<double>>> expected = {
      {1, {4.5e-3, 3.5e-4, 2.5e-16}},
      {0.3, {0.10, 0.034, 1e-3, 3e-5}},
      {0.1, {0.36, 0.13, 4.7e-3, 3e-4}},
      {0.03, {0.79, 0.54, 9.7e-3, 6e-4}},
      {0.01, {0.96, 0.86, 0.056, 8e-4}}};
  Rng rng(3);
  const Tensor x = rng.normal({200, 8, 8}) + rng.gumbel({200, 8, 8});
  for (const auto& row : expected) {
    const double tau = row.first;
    const std::vector<double>& means = row.second;
    std::size_t iterations[] = {10, 20, 200, 2000};
    for (std::size_t k = 0; k < means.size(); ++k) {
      CAPTURE(tau);
      CAPTURE(iterations[k]);
      double total = 0, squares = 0;
      for (std::size_t m = 0; m < 200; ++m) {
        Tape tape;
        Tensor one = uninitialised({8, 8});
        std::copy_n(x.data() + m * 64, 64, one.data());
        const double r = sinkhorn(tape.constant(one), tau, iterations[k]).residual;
        total += r, squares += r * r;
      }
      const double mean = total / 200, error = std::sqrt((squares / 200 - mean * mean) / 199);
      CHECK(mean <= 1.05 * means[k] + 3 * error + 1e-15);  // two digits were published
    }
  }
}

TEST_CASE("a tolerance is reached, at any tau, on 200 matrices up to 120 wide") {
  Rng rng(4);
  const double taus[] = {1, 0.3, 0.1, 0.03, 0.01};
  for (std::size_t m = 0; m < 200; ++m) {
    const std::size_t n = m < 10 ? 120 : 2 + rng.below(m < 50 ? 119 : 40);
    for (double tolerance : {1e-3, 1e-9}) {
      Tape tape;
      const Tensor x = rng.normal({n, n}) + rng.gumbel({n, n});
      const Converge until = tolerance == 1e-3 ? Converge{} : Converge{tolerance};
      const Sinkhorn s = sinkhorn(tape.constant(x), taus[m % 5], until);
      CAPTURE(n);
      CAPTURE(taus[m % 5]);
      CAPTURE(tolerance);
      CAPTURE(s.iterations);
      CHECK(s.residual <= tolerance);
      CHECK(residual(s.matrices.value(), n) <= tolerance);
      CHECK(s.warning().empty());
    }
  }
}

TEST_CASE("a tolerance is reached from extreme logits, and where pairs are forbidden") {
  Rng rng(15);
  for (double scale : {1e2, 1e4, 1e8})
    for (std::size_t n : {std::size_t{1}, std::size_t{5}, std::size_t{20}, std::size_t{60}}) {
      CAPTURE(scale);
      CAPTURE(n);
      Tape tape;
      Tensor x = rng.uniform({n, n}, -scale, scale);
      const Sinkhorn s = sinkhorn(tape.constant(x), 0.01, Converge{1e-6});
      CHECK(s.residual <= 1e-6);
      CHECK(s.iterations < 1000);
    }
  // A triangle has one matching, its diagonal, and gets there as slowly as can be.
  Tensor x = rng.normal({12, 12});
  for (std::size_t i = 0; i < 12; ++i)
    for (std::size_t j = 0; j < i; ++j) x(i, j) = -kInf;
  Tape tape;
  const Sinkhorn s = sinkhorn(tape.constant(x), 1, Converge{1e-6});
  CHECK(s.residual <= 1e-6);
  for (std::size_t i = 0; i < 12; ++i)
    for (std::size_t j = 0; j < 12; ++j)
      CHECK(s.matrices.value()(i, j) == doctest::Approx(i == j ? 1 : 0).epsilon(1e-5));
}

TEST_CASE("stopped short of its tolerance, it is the matrix of the temperature asked for") {
  Rng rng(16);
  const Tensor x = rng.normal({6, 6});
  for (std::size_t most : {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{10}}) {
    CAPTURE(most);
    Tape tape;
    const Sinkhorn s = sinkhorn(tape.constant(x), 0.01, Converge{1e-14, most});
    CHECK(s.iterations <= most);
    // Whatever the factors, p_ij p_kl / (p_il p_kj) is that of e^{x / tau}.
    const Tensor& p = s.matrices.value();
    std::size_t compared = 0;
    for (std::size_t i = 0; i < 5; ++i)
      for (std::size_t j = 0; j < 5; ++j) {
        if (!(std::min({p(i, j), p(i + 1, j + 1), p(i, j + 1), p(i + 1, j)}) > 1e-290)) continue;
        const double e = (x(i, j) + x(i + 1, j + 1) - x(i, j + 1) - x(i + 1, j)) / 0.01;
        const double found = std::log(p(i, j)) + std::log(p(i + 1, j + 1)) - std::log(p(i, j + 1)) -
                             std::log(p(i + 1, j));
        CHECK(found == doctest::Approx(e).epsilon(1e-9));
        ++compared;
      }
    CHECK(compared > 5);
  }
}

TEST_CASE("gradients at first and second order") {
  const std::vector<Shape> shapes = {{1, 1}, {2, 2}, {3, 3}, {2, 9, 9}, {2, 1, 4, 4}, {0, 3, 3}};
  for (const Shape& shape : shapes)
    for (double tau : {1.0, 0.4}) {
      for (std::size_t iterations : {std::size_t{1}, std::size_t{2}, std::size_t{7}}) {
        CAPTURE(str(shape));
        CAPTURE(tau);
        CAPTURE(iterations);
        // Of a matrix of one number the gradient is 0, and rounding no measure: something is added.
        const double more = shape == Shape{1, 1} ? 1 : 0;
        const CheckResult r = check_gradient(
            [&](const Vars& v) {
              return sinkhorn(v[0], tau, iterations).matrices * v[1] + more * v[0] * v[1];
            },
            {Rng(5).normal(shape), Rng(6).normal(shape)});
        INFO(r.report);
        CHECK(r.ok);
      }
      const CheckResult r = check_gradient(
          [&](const Vars& v) { return sinkhorn(v[0], tau, Converge{1e-13}).matrices * v[1]; },
          {Rng(5).normal(shape), Rng(6).normal(shape)});
      INFO(r.report);
      CHECK(r.ok);
    }
}

TEST_CASE("what is handed back, of the logits and of the gradient that arrives, at both orders") {
  for (const Shape& shape : {Shape{2, 2}, Shape{2, 3, 3}, Shape{9, 9}, Shape{0, 2, 2}})
    for (double tau : {1.0, 0.4})
      for (bool converged : {false, true}) {
        CAPTURE(str(shape));
        CAPTURE(tau);
        CAPTURE(converged);
        const CheckResult r = check_gradient(vjp_of([&](const Vars& v) -> Var {
                                               if (converged)
                                                 return sinkhorn(v[0], tau, Converge{1e-13});
                                               return sinkhorn(v[0], tau, 3);
                                             }),
                                             {Rng(7).normal(shape), Rng(8).normal(shape)});
        INFO(r.report);
        CHECK(r.ok);
      }
}

TEST_CASE("third derivatives: the recorded gradient is a value like any other") {
  const Tensor w = Rng(8).normal({3, 3});
  for (bool converged : {false, true}) {
    const CheckResult r = check_gradient(
        [&](const Vars& v) {
          Tape& tape = *v[0].tape;
          // Something to differentiate for, also where the checker holds v[0] fixed.
          const Var x = v[0] + tape.parameter(zeros({3, 3}));
          const Var y = converged ? sinkhorn(x, 0.7, Converge{1e-13}) : sinkhorn(x, 0.7, 3);
          return differentiate({sum(y * y * tape.constant(w))}, {x})[0];
        },
        {Rng(7).normal({3, 3})});
    INFO(r.report);
    CHECK(r.ok);
  }
}

TEST_CASE("implicit gradients at low tau against differences") {
  const Tensor w = Rng(13).normal({6, 6});
  for (double tau : {0.1, 0.03}) {
    CheckOptions options;
    options.step = 1e-2 * tau;
    const CheckResult r = check_gradient(
        [&](const Vars& v) {
          return sinkhorn(v[0], tau, Converge{1e-13}).matrices * v[0].tape->constant(w);
        },
        {Rng(14).normal({6, 6}) * 0.3}, options);
    INFO(r.report);
    CHECK(r.ok);
  }
}

TEST_CASE("the gradient through vectors is the one through recorded matrices, at low tau too") {
  Rng rng(9);
  const auto chain = [](Var x, double tau, std::size_t iterations) {
    Var y = x / tau;
    for (std::size_t k = 0; k < iterations; ++k) y = log_softmax(log_softmax(y), -2);
    return exp(y);
  };
  const auto largest = [](const Tensor& t) { return farthest(t, zeros(t.shape())); };
  for (double tau : {1.0, 0.1, 0.01, 0.001})
    for (std::size_t n : {std::size_t{4}, std::size_t{30}}) {
      CAPTURE(tau);
      CAPTURE(n);
      Tensor x = rng.normal({2, n, n}) + rng.gumbel({2, n, n});
      x(0, 1, 0) = -kInf, x(1, 0, n - 1) = -kInf;
      Tape tape;
      const Var l = tape.parameter(x), g = tape.constant(rng.normal({2, n, n})),
                u = tape.constant(rng.normal({2, n, n}));
      const Var y = sinkhorn(l, tau, 40), recorded = differentiate({y}, {l}, {g})[0],
                expected = differentiate({chain(l, tau, 40)}, {l}, {g})[0];
      const Tensor found = backward({y}, {}, {g})[l];
      CHECK(identical(recorded.value(), found));
      const double size = largest(expected.value());
      // Where all is decided the gradient is rounding alone, of g / tau.
      CHECK(farthest(expected.value(), found) <= 1e-10 * size + 1e-14 / tau);
      // Its own derivative, too, is the chain's.
      const Tensor second = backward({expected}, {}, {u})[l];
      CHECK(farthest(second, backward({recorded}, {}, {u})[l]) <=
            1e-10 * largest(second) + 1e-14 / (tau * tau));
      // Two uses add up.
      CHECK(farthest(backward({y, y}, {}, {g, g})[l], 2.0 * found) <= 1e-12 * size + 1e-14 / tau);
      const Var twice = sinkhorn(l, tau, 40).matrices + y;
      CHECK(farthest(backward({twice}, {}, {g})[l], 2.0 * found) <= 1e-12 * size + 1e-14 / tau);
    }
}

TEST_CASE("implicit and unrolled gradients meet at convergence") {
  Rng rng(10);
  for (double tau : {1.0, 0.5})
    for (std::size_t n : {std::size_t{2}, std::size_t{10}, std::size_t{40}}) {
      CAPTURE(tau);
      CAPTURE(n);
      Tensor x = rng.normal({n, n}), g = rng.normal({n, n});
      if (n > 2) x(0, 1) = x(3, 4) = -kInf;
      Tape tape;
      const Var l = tape.parameter(x);
      const Var y = sinkhorn(l, tau, Converge{1e-13});
      const Tensor implicit = backward({y}, {}, {tape.constant(g)})[l];
      const Tensor recorded = differentiate({y}, {l}, {tape.constant(g)})[0].value();
      const Tensor unrolled = gradient(x, g, tau, 3000);
      CHECK(farthest(implicit, recorded) <= 1e-12 / tau);
      CHECK(farthest(implicit, unrolled) <= 1e-8 / tau);
      CHECK(farthest(unrolled, zeros({n, n})) > 1e-6);
    }
}

TEST_CASE("implicit gradients where the matrix is all but a permutation") {
  // Entries below rounding link the parts; the sums of the gradient over rows and columns are 0.
  Rng rng(11);
  for (double tau : {0.03, 0.01, 0.001})
    for (std::size_t n : {std::size_t{3}, std::size_t{30}}) {
      CAPTURE(tau);
      CAPTURE(n);
      Tape tape;
      const Var l = tape.parameter(rng.normal({n, n}));
      const Var y = sinkhorn(l, tau, Converge{1e-10}), w = tape.constant(rng.normal({n, n}));
      const Tensor g = backward({y}, {}, {w})[l];
      for (std::size_t i = 0; i < n; ++i) {
        double row = 0, column = 0;
        for (std::size_t j = 0; j < n; ++j) row += g(i, j), column += g(j, i);
        CHECK(std::abs(row) <= 1e-9 / tau);
        CHECK(std::abs(column) <= 1e-9 / tau);
      }
      CHECK(farthest(g, differentiate({y}, {l}, {w})[0].value()) <= 1e-9 / tau);
    }
}

TEST_CASE("a common offset of a row counts for nothing, in value and gradients of both orders") {
  Rng rng(18);
  const std::size_t n = 5;
  // Whole numbers that stand exactly beside 1e16, where doubles are 2 apart.
  const Tensor x = 2 * xt::floor(rng.normal({3, n, n})), g = rng.normal({3, n, n}),
               u = rng.normal({3, n, n});
  for (double tau : {1.0, 3.0})
    for (bool converged : {false, true}) {
      const auto found = [&](const Tensor& offset) {
        Tape tape;
        const Var l = tape.parameter(x + offset);
        const Var p = converged ? sinkhorn(l, tau, Converge{1e-13}) : sinkhorn(l, tau, 6);
        const Var slope = differentiate({square(p)}, {l}, {tape.constant(g)})[0];
        return std::vector<Tensor>{p.value(), slope.value(),
                                   backward({slope}, {}, {tape.constant(u)})[l]};
      };
      const auto same = [&](const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
        for (std::size_t k = 0; k < 3; ++k) {
          CAPTURE(k);
          CHECK(farthest(a[k], b[k]) < 1e-10);
        }
      };
      CAPTURE(tau);
      CAPTURE(converged);
      const std::vector<Tensor> expected = found(zeros({1}));
      for (double offset : {1e16, -1e16}) same(found(full({1}, offset)), expected);
      same(found(tensor({n, 1}, {1e16, 0, -1e16, 1e10, 1e15})), expected);
      // One of a column counts for the first half iteration; at the limit it is none.
      if (converged) same(found(tensor({n}, {0, 1e3, 0, -1e3, 0})), expected);
    }
}

TEST_CASE("order and batch: of the permuted matrix, transposed, alone") {
  Rng rng(19);
  const std::size_t n = 7;
  const Tensor x = rng.normal({4, n, n}), g = rng.normal({4, n, n});
  const std::vector<std::size_t> rows = {3, 0, 6, 1, 5, 2, 4}, columns = {6, 2, 0, 1, 4, 5, 3};
  const auto permuted = [&](const Tensor& t) {
    Tape tape;
    return take(take(tape.constant(t), rows, 1), columns, 2).value();
  };
  const auto transposed = [&](const Tensor& t) {
    Tape tape;
    return transpose(tape.constant(t), {0, 2, 1}).value();
  };
  for (bool converged : {false, true}) {
    const auto found = [&](const Tensor& x, const Tensor& g) {
      Tape tape;
      const Var l = tape.parameter(x);
      const Var p = converged ? sinkhorn(l, 0.4, Converge{1e-13}) : sinkhorn(l, 0.4, 5);
      return std::pair{p.value(), backward({p}, {}, {tape.constant(g)})[l]};
    };
    const auto all = found(x, g), other = found(permuted(x), permuted(g));
    CHECK(farthest(other.first, permuted(all.first)) < 1e-12);
    CHECK(farthest(other.second, permuted(all.second)) < 1e-12);
    if (converged) {
      const auto across = found(transposed(x), transposed(g));
      CHECK(farthest(across.first, transposed(all.first)) < 1e-10);
      CHECK(farthest(across.second, transposed(all.second)) < 1e-10);
    }
    for (std::size_t m = 0; m < 4; ++m) {
      Tape tape;
      const auto one = [&](const Tensor& t) { return slice(tape.constant(t), m, m + 1).value(); };
      const auto alone = found(one(x), one(g));
      CHECK(identical(alone.first, one(all.first)));
      CHECK(identical(alone.second, one(all.second)));
    }
  }
}

TEST_CASE("the same numbers for any number of threads") {
  Rng rng(17);
  const Tensor x = rng.normal({40, 30, 30}), g = rng.normal({40, 30, 30});
  std::vector<Tensor> once;
  for (int n : {1, 2, 3}) {
    set_threads(n);
    Tape tape;
    const Var l = tape.parameter(x);
    const Sinkhorn a = sinkhorn(l, 0.1, 20), b = sinkhorn(l, 0.1, Converge{1e-6});
    const std::vector<Tensor> found = {a.matrices.value(), b.matrices.value(),
                                       backward({a}, {}, {tape.constant(g)})[l],
                                       backward({b}, {}, {tape.constant(g)})[l]};
    if (n == 1) once = found;
    for (std::size_t k = 0; k < 4; ++k) CHECK(identical(found[k], once[k]));
  }
  set_threads(1);
}

TEST_CASE("what is wrong is said in words") {
  Tape tape;
  const auto refuses_logits = [&](const Tensor& x, const std::string& message) {
    refuses([&] { sinkhorn(tape.constant(x), 1, 20); }, "sinkhorn: " + message);
    refuses([&] { sinkhorn(tape.constant(x), 1, Converge{}); }, "sinkhorn: " + message);
  };
  refuses_logits(zeros({2, 3}), "logits are (2, 3); need (..., n, n) with n of at least 1");
  refuses_logits(zeros({3}), "logits are (3,); need (..., n, n) with n of at least 1");
  refuses_logits(zeros({}), "logits are (); need (..., n, n) with n of at least 1");
  refuses_logits(zeros({2, 0, 0}), "logits are (2, 0, 0); need (..., n, n) with n of at least 1");
  Tensor bad = zeros({2, 3, 3});
  bad(1, 2, 0) = kNan;
  refuses_logits(bad,
                 "the logit in row 2, column 0 of matrix 1 is NaN; need numbers, or -inf for a "
                 "forbidden pair");
  bad(1, 2, 0) = kInf;
  refuses_logits(bad,
                 "the logit in row 2, column 0 of matrix 1 is +inf; need numbers, or -inf for a "
                 "forbidden pair");
  bad(1, 2, 0) = bad(1, 2, 1) = bad(1, 2, 2) = -kInf;
  refuses_logits(bad,
                 "the pairs of matrix 1 that are not -inf leave no matching: row 2 has none; need "
                 "one");
  bad(1, 2, 0) = 0, bad(1, 0, 1) = bad(1, 0, 2) = -kInf;
  refuses_logits(bad,
                 "the pairs of matrix 1 that are not -inf leave no matching: rows 0, 2 have only "
                 "one column between them; need one");
  Tensor column = zeros({4, 4});
  for (std::size_t i = 0; i < 4; ++i) column(i, 2) = -kInf;
  refuses_logits(column,
                 "the pairs of matrix 0 that are not -inf leave no matching: rows 0, 1, 2, 3 have "
                 "only 3 columns between them; need one");

  const Var x = tape.constant(zeros({2, 2}));
  for (double tau : {0.0, -1.0, kInf, kNan, 1e-21, 1e21}) {
    const std::string message = "sinkhorn: tau is " + str(tau) + "; need 1e-20 to 1e+20";
    refuses([&] { sinkhorn(x, tau, 20); }, message);
    refuses([&] { sinkhorn(x, tau, Converge{}); }, message);
  }
  refuses([&] { sinkhorn(x, 1, 0); }, "sinkhorn: 0 iterations; need 1 to 4294967296");
  refuses([&] { sinkhorn(x, 1, static_cast<std::size_t>(-1)); },
          "sinkhorn: -1 iterations; need 1 to 4294967296");
  refuses(
      [&] {
        sinkhorn(x, 1, Converge{1e-3, 0});
      },
      "sinkhorn: 0 iterations; need 1 to 4294967296");
  for (double tolerance : {0.0, 1.0, -1.0, 1e-15, kNan})
    refuses([&] { sinkhorn(x, 1, Converge{tolerance}); },
            "sinkhorn: the tolerance is " + str(tolerance) +
                "; need at least 7.10543e-15 and less than 1");
  refuses(
      [&] {
        sinkhorn(tape.constant(Tensor{{0, -1e300}, {0, -1e300}}), 1e-20, 1);
      },
      "sinkhorn: logits / tau leave the range of numbers, with tau 1e-20; need smaller logits, "
      "or a larger tau");
  refuses([&] { sinkhorn(Var(), 1, 1); },
          "sinkhorn: input 0 is an empty Var; need a value on a tape");
}

TEST_CASE("a warning where the matrix is far from doubly stochastic") {
  Rng rng(12);
  Tape tape;
  const Var x = tape.constant(rng.normal({5, 10, 10}));
  CHECK(sinkhorn(x, 1, 50).warning().empty());
  const Sinkhorn far = sinkhorn(x, 0.01, 20);
  CHECK(far.warning() ==
        "sinkhorn: after 20 iterations at tau 0.01 a row or column sum misses 1 by " +
            str(far.residual) + "; more iterations or a larger tau bring it closer");
  const Sinkhorn stopped = sinkhorn(x, 0.01, Converge{1e-6, 3});
  CHECK(stopped.iterations == 3);
  CHECK(stopped.residual > 1e-6);
  CHECK(stopped.warning() ==
        "sinkhorn: after 3 iterations at tau 0.01 a row or column sum misses 1 by " +
            str(stopped.residual) + ", not 1e-06; more iterations or a larger tau bring it closer");
  const Sinkhorn none = sinkhorn(tape.constant(zeros({0, 3, 3})), 1, Converge{});
  CHECK(none.residual == 0);
  CHECK(none.iterations == 0);
}
