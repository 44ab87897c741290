// Ops beside the numbers that PyTorch 1.13 gives, value and derivatives of first and second order;
// and what PyTorch does not say: infinities, zeros, empty axes, errors.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "engine/gradcheck.hpp"
#include "engine/random.hpp"
#include "engine/sweep.hpp"
#include "ops/conv.hpp"
#include "ops/elementwise.hpp"
#include "ops/layer_norm.hpp"
#include "ops/linalg.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"
#include "tests/distance.hpp"
#include "tests/refuses.hpp"

using namespace argtape;
using Vars = std::vector<Var>;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNan = std::numeric_limits<double>::quiet_NaN();

// 1, 2, 3, ... of a shape.
Tensor counting(const Shape& shape) {
  Tensor t = uninitialised(shape);
  for (std::size_t i = 0; i < t.size(); ++i) t.data()[i] = static_cast<Scalar>(i + 1);
  return t;
}
Tensor sines(const Shape& shape) { return xt::sin(counting(shape)); }
Tensor cosines(const Shape& shape) { return xt::cos(counting(shape)); }

}  // namespace

TEST_CASE("number by number, as PyTorch has it") {
  struct Row {
    const char* name;
    std::function<Var(Var)> f;
    Tensor x, value, slope, bend;
  };
  const Tensor x{-3, -0.5, 0.25, 2.5}, none = zeros({4});
  const Row rows[] = {
      {"sin",
       [](Var x) { return sin(x); },
       x,
       {-0.1411200080598672, -0.479425538604203, 0.2474039592545229, 0.5984721441039564},
       {-0.9899924966004454, 0.8775825618903728, 0.9689124217106447, -0.8011436155469337},
       {0.1411200080598672, 0.479425538604203, -0.2474039592545229, -0.5984721441039564}},
      {"cos",
       [](Var x) { return cos(x); },
       x,
       {-0.9899924966004454, 0.8775825618903728, 0.9689124217106447, -0.8011436155469337},
       {0.1411200080598672, 0.479425538604203, -0.2474039592545229, -0.5984721441039564},
       {0.9899924966004454, -0.8775825618903728, -0.9689124217106447, 0.8011436155469337}},
      {"erf",
       [](Var x) { return erf(x); },
       x,
       {-0.9999779095030014, -0.5204998778130465, 0.276326390168237, 0.999593047982555},
       {0.0001392530519467479, 0.8787825789354448, 1.060014129376114, 0.00217828423035271},
       {0.0008355183116804871, 0.8787825789354448, -0.5300070646880571, -0.01089142115176355}},
      {"log1p",
       [](Var x) { return log1p(x); },
       {-0.75, -0.5, 0.25, 2.5},
       {-1.386294361119891, -0.6931471805599453, 0.2231435513142098, 1.252762968495368},
       {4, 2, 0.8, 0.2857142857142857},
       {-16, -4, -0.64, -0.08163265306122448}},
      {"expm1",
       [](Var x) { return expm1(x); },
       x,
       {-0.950212931632136, -0.3934693402873666, 0.2840254166877415, 11.18249396070347},
       {0.04978706836786395, 0.6065306597126334, 1.284025416687741, 12.18249396070347},
       {0.04978706836786395, 0.6065306597126334, 1.284025416687741, 12.18249396070347}},
      {"gelu",
       [](Var x) { return gelu(x); },
       x,
       {-0.00404969409489031, -0.1542687693629934, 0.1496765814207309, 2.48447583668556},
       {-0.01194564720418392, 0.1325048753438371, 0.6953733548836361, 1.037611085908145},
       {-0.03102293888356605, 0.6161143218375241, 0.7491694763055204, -0.07449527709766629}},
      {"silu",
       [](Var x) { return silu(x); },
       x,
       {-0.1422776195327004, -0.1887703343990727, 0.1405441252214495, 2.310354549946891},
       {-0.08810410601516962, 0.2600388126973482, 0.6237100215701977, 1.099401111341527},
       {-0.03232140452100617, 0.4412290269770286, 0.484616287468517, -0.008462156523368874}},
      {"elu",
       [](Var x) { return elu(x); },
       x,
       {-0.950212931632136, -0.3934693402873666, 0.25, 2.5},
       {0.04978706836786394, 0.6065306597126334, 1, 1},
       {0.04978706836786394, 0.6065306597126334, 0, 0}},
      {"elu 0.5",
       [](Var x) { return elu(x, 0.5); },
       x,
       {-0.475106465816068, -0.1967346701436833, 0.25, 2.5},
       {0.02489353418393197, 0.3032653298563167, 1, 1},
       {0.02489353418393197, 0.3032653298563167, 0, 0}},
      {"leaky_relu",
       [](Var x) { return leaky_relu(x); },
       x,
       {-0.03, -0.005, 0.25, 2.5},
       {0.01, 0.01, 1, 1},
       none},
      {"leaky_relu 0.2",
       [](Var x) { return leaky_relu(x, 0.2); },
       x,
       {-0.6, -0.1, 0.25, 2.5},
       {0.2, 0.2, 1, 1},
       none}};
  for (const Row& row : rows) {
    CAPTURE(row.name);
    Tape tape;
    const Var v = tape.parameter(row.x), y = row.f(v), slope = differentiate(y, v)[0];
    check_close(y.value(), row.value);
    check_close(slope.value(), row.slope);
    check_close(backward(slope)[v], row.bend);
    check_close(backward(y)[v], row.slope);
  }
}

TEST_CASE("activations where they bend, and of infinities and NaN") {
  const auto value_and_slope = [](Var (*f)(Var), double x) {
    Tape tape;
    const Var v = tape.parameter(Tensor{x}), y = f(v);
    CHECK((std::isnan(x) || !std::isnan(backward(differentiate(y, v)[0])[v](0))));
    return std::pair{y.value()(0), backward(y)[v](0)};
  };
  const auto leaky = [](Var x) { return leaky_relu(x); };
  const auto twice = [](Var x) { return elu(x, 2); };
  CHECK(value_and_slope(leaky, 0) == std::pair{0.0, 0.01});
  CHECK(value_and_slope(twice, 0) == std::pair{0.0, 2.0});
  CHECK(value_and_slope(gelu, 0) == std::pair{0.0, 0.5});
  CHECK(value_and_slope(silu, 0) == std::pair{0.0, 0.5});
  for (Var (*f)(Var) : {gelu, silu}) {
    CHECK(value_and_slope(f, -kInf) == std::pair{0.0, 0.0});
    CHECK(value_and_slope(f, kInf) == std::pair{kInf, 1.0});
  }
  CHECK(value_and_slope(leaky, -kInf) == std::pair{-kInf, 0.01});
  CHECK(value_and_slope(twice, -kInf) == std::pair{-2.0, 0.0});
  CHECK(value_and_slope(twice, kInf) == std::pair{kInf, 1.0});
  CHECK(value_and_slope(erf, -kInf) == std::pair{-1.0, 0.0});
  CHECK(value_and_slope(expm1, -kInf) == std::pair{-1.0, 0.0});
  CHECK(value_and_slope(log1p, kInf) == std::pair{kInf, 0.0});
  using One = Var (*)(Var);
  for (One f : std::vector<One>{leaky, twice, gelu, silu, erf, expm1, log1p, sin, cos})
    CHECK(std::isnan(value_and_slope(f, kNan).first));
}

TEST_CASE("gelu and silu keep their digits far below 0") {
  Tape tape;
  const Var x = tape.constant(Tensor{-10, -20, -30});
  const Tensor g = gelu(x).value(), s = silu(x).value();
  for (std::size_t i = 0; i < 3; ++i) {
    const double v = x.value()(i);
    CHECK(g(i) == doctest::Approx(v * 0.5 * std::erfc(-v * std::sqrt(0.5))).epsilon(1e-13));
    CHECK(s(i) == doctest::Approx(v / (1 + std::exp(-v))).epsilon(1e-14));
  }
}

// sum(y * (1, 2, ...)), its gradient, and the gradient of sum(gradient * (1, 2, ...)).
struct Derived {
  Tensor value, slope, bend;
  Derived(const std::function<Var(Var)>& f, const Tensor& at) {
    Tape tape;
    const Var x = tape.parameter(at), y = f(x);
    const Var g = differentiate(y, x, tape.constant(counting(y.shape())))[0];
    value = y.value(), slope = g.value();
    bend = backward(g, {}, tape.constant(counting(at.shape())))[x];
  }
};

TEST_CASE("along axes, as PyTorch has it") {
  const Tensor zeros_among = tensor({3, 4}, {2, -3, 0.5, 4, 1.5, 0, 2, -1, 0, 3, 0, 2}),
               some = tensor({3, 2}, {1, 2, 3, -1, 0.5, 4});
  const Derived product([](Var x) { return prod(x, 1); }, zeros_among);
  CHECK(product.value == Tensor{-12, 0, 0});
  CHECK(product.slope == tensor({3, 4}, {-6, 4, -24, -3, 0, -6, 0, 0, 0, 0, 0, 0}));
  CHECK(product.bend == tensor({3, 4}, {-38, 30, -20, -17.5, -24, 7, -18, 36, 198, 0, 162, 0}));
  const Derived down([](Var x) { return cumsum(x * x, 0); }, some);
  CHECK(down.value == tensor({3, 2}, {1, 4, 10, 5, 10.25, 21}));
  CHECK(down.slope == tensor({3, 2}, {18, 48, 48, -20, 5, 48}));
  CHECK(down.bend == tensor({3, 2}, {18, 48, 48, 80, 50, 72}));
  const Derived across([](Var x) { return cumsum(x * x); }, some);
  CHECK(across.value == tensor({3, 2}, {1, 5, 9, 10, 0.25, 16.25}));
  CHECK(across.slope == tensor({3, 2}, {6, 8, 42, -8, 11, 48}));
  CHECK(across.bend == tensor({3, 2}, {6, 8, 42, 32, 110, 72}));
  const Derived length([](Var x) { return norm(x, 0); }, tensor({2, 2}, {3, 1, 4, 2}));
  check_close(length.value, Tensor{5, std::sqrt(5.0)});
  check_close(length.slope, tensor({2, 2}, {0.6, 0.8944271909999159, 0.8, 1.788854381999832}));
  check_close(length.bend, tensor({2, 2}, {-0.16, 0, 0.12, 0}));
  const Derived taken([](Var x) { return take_along_axis(x * x, {2, 0, 1, 1}); }, counting({2, 3}));
  CHECK(taken.value == tensor({2, 2}, {9, 1, 25, 25}));
  CHECK(taken.slope == tensor({2, 3}, {4, 0, 6, 0, 70, 0}));
  CHECK(taken.bend == tensor({2, 3}, {4, 0, 6, 0, 70, 0}));
  const Derived added(
      [](Var x) {
        return scatter_add(x * x, {2, 0, 1, 1}, 3);
      },
      tensor({2, 2}, {1, 2, 4, 5}));
  CHECK(added.value == tensor({2, 3}, {4, 0, 1, 0, 41, 0}));
  CHECK(added.slope == tensor({2, 2}, {6, 4, 40, 50}));
  CHECK(added.bend == tensor({2, 2}, {6, 4, 30, 40}));
}

TEST_CASE("layer_norm over two axes, as PyTorch has it") {
  Tape tape;
  const Var x = tape.parameter(sines({2, 2, 3})), gain = tape.parameter(cosines({2, 3}));
  const Var y = layer_norm(x, gain, tape.constant(zeros({2, 3})));
  check_close(y.value(),
              tensor({2, 2, 3}, {0.6430227754067229, -0.5343837329048322, -0.2172453713223439,
                                 0.6700270439788, -0.3702365398000609, -0.3489393614335058,
                                 0.4915549159581204, -0.5690677120708993, -0.5668528271869001,
                                 0.4863533922916294, -0.3891718713678486, -0.7045811907399219}));
  const std::vector<Var> slopes = differentiate(y * y * y, {x, gain});
  check_close(slopes[0].value(),
              tensor({2, 2, 3}, {0.7280560472154954, -0.7151973123857455, -0.1861964602769423,
                                 -0.9441930040855713, 0.4979026709615512, 0.6196280585712121,
                                 0.8490239715835148, -0.07643936659351508, -1.130122194108378,
                                 -0.9454488487456435, -0.3632689245348499, 1.666255362398871}));
  check_close(slopes[1].value(),
              tensor({2, 3}, {2.135740586706822, 2.428620616548538, 0.5830206963977381,
                              -1.908568779630138, -1.16009966808336, -1.225610458911104}));
  check_close(backward(square(slopes[0]))[x],
              tensor({2, 2, 3}, {-0.6424132504386022, -1.744672280417655, 1.163901204002916,
                                 -1.044405907669961, 4.993221530756834, -2.725631296233532,
                                 -1.695028402969815, -8.905351262676458, 10.48377595395777,
                                 2.44300289874784, 12.79009796221218, -15.11649714927151}),
              1e-11);
}

TEST_CASE("convolutions with a bias, stride and padding of each axis, as PyTorch has it") {
  Tape tape;
  const Var x = tape.parameter(sines({1, 2, 4, 4})), w = tape.parameter(cosines({2, 2, 3, 1})),
            b = tape.parameter(Tensor{0.5, -0.25});
  const Var y = conv2d(x, w, b, {2, 1}, {1, 2});
  check_close(y.value(), tensor({1, 2, 2, 8}, {0.5,
                                               0.5,
                                               1.629772118985908,
                                               0.1766925511439847,
                                               -0.9791396392284089,
                                               -0.7750576666961402,
                                               0.5,
                                               0.5,
                                               0.5,
                                               0.5,
                                               -1.827192358953545,
                                               -1.131854032140242,
                                               1.063803366142356,
                                               2.741102549706111,
                                               0.5,
                                               0.5,
                                               -0.25,
                                               -0.25,
                                               1.203031186491866,
                                               -0.1385117454283594,
                                               -1.582556464447323,
                                               -1.80145491545241,
                                               -0.25,
                                               -0.25,
                                               -0.25,
                                               -0.25,
                                               -2.678335083401195,
                                               -2.107021885705748,
                                               0.1716286696123611,
                                               2.062635770529098,
                                               -0.25,
                                               -0.25}));
  std::vector<Var> g = differentiate(square(y) / 2, {x, w, b});
  check_close(slice(slice(g[0], 0, 1, 1), 0, 2, 2).value(),
              tensor({1, 1, 2, 4}, {-0.8532655899161015, -0.05337658255729706, 0.6377278824839381,
                                    0.5846495472402269, -5.716019391038595, -2.248753950007259,
                                    3.115422634507075, 5.444711148869695}));
  check_close(g[1].value(),
              tensor({2, 2, 3, 1},
                     {5.47923363337807, -0.6914001863064227, -5.008633050716306, -4.901207671213348,
                      -1.415184884335287, 6.305032280750933, 5.31049854231043, 0.790474164178038,
                      -7.6317272816771, -4.235308251683946, -3.463712978494462, 8.9055851227187}));
  check_close(g[2].value(), Tensor{4.898126888960022, -6.870584467801709});
  Gradients again = backward(square(g[1]) / 2);
  check_close(again[w],
              tensor({2, 2, 3, 1}, {34.28362158725831, 9.733492315973132, -51.37860395109588,
                                    -27.50673340253429, -26.44652862741184, 58.2761658677159,
                                    33.10829568421936, 35.50628663952075, -82.89446304775409,
                                    -22.71463998975106, -56.70872247412898, 86.48984255588736}));
  check_close(again[b], Tensor{-20.81139267543335, -36.79664281101242});

  const Var small = tape.parameter(sines({1, 2, 2, 4}));
  const Var spread = conv_transpose2d(small, w, b, {2, 1}, {1, 0});
  check_close(
      spread.value(),
      tensor(
          {1, 2, 3, 4},
          {0.08986125809015516,  0.2007538423730386,   0.5867719639337888,   0.8930123420232277,
           -0.9098877049417193,  0.6913287481551549,   2.116638432555908,    2.05561819757487,
           0.8379189853257869,   0.4721444719130619,   0.1319802025611183,   0.1301716377642311,
           -0.00948258949452585, 0.005525622193540691, -0.2143952447463519,  -0.467050959466707,
           1.179967788896233,    -0.4845462677815079,  -1.933419567526463,   -1.834564680374681,
           -0.520151023035156,   -0.3248754818903564,  -0.06075976800153943, 0.02936934931393637}));
  g = differentiate(square(spread) / 2, {w, b});
  check_close(g[0].value(),
              tensor({2, 2, 3, 1}, {4.103691341103299, -1.054797841262044, -1.394017600016736,
                                    -4.08138246033883, 0.8989541247431914, 1.667870925851307,
                                    1.087135460116926, -0.2699892997473803, -3.970685734194087,
                                    -0.713313506195279, -0.1302551917638672, 3.667668293158912}));
  check_close(g[1].value(), Tensor{7.296312377328622, -4.634382821913578});
  again = backward(square(g[0]) / 2);
  check_close(again[w],
              tensor({2, 2, 3, 1}, {17.37354816893029, -4.670712801436109, -8.776550698752393,
                                    -17.55726875018205, 4.132061585191725, 9.870057446914931,
                                    0.84437172216927, -0.4793668619261746, -13.93566716602355,
                                    0.4548978187614184, -0.8228960348189754, 13.08233598977414}));
  check_close(again[b], Tensor{6.988699126373178, -5.782713880475671});
}

TEST_CASE("a convolution's stride and padding of each axis are those of the images it is made of") {
  Rng rng(3);
  for (const Pixels stride : {Pixels(1, 2), Pixels(3, 1), Pixels(2, 3), Pixels(1, 9)})
    for (const Pixels padding : {Pixels(0, 2), Pixels(3, 0), Pixels(1, 4)})
      for (const std::size_t planes : {std::size_t{2}, std::size_t{9}}) {
        CAPTURE(str(Shape{stride.h, stride.w}));
        CAPTURE(str(Shape{padding.h, padding.w}));
        CAPTURE(planes);
        Tape tape;
        const Var x = tape.parameter(rng.normal({2, planes, 7, 18})),
                  w = tape.parameter(rng.normal({3, planes, 3, 2})),
                  y = conv2d(x, w, stride, padding);
        // The same with zeros around it, one window after the other, of which some are taken.
        Var all = conv2d(pad(pad(x, padding.h, padding.h, 2), padding.w, padding.w, 3), w);
        for (const auto& [axis, step] :
             {std::pair{std::size_t{2}, stride.h}, std::pair{std::size_t{3}, stride.w}}) {
          std::vector<std::size_t> places;
          for (std::size_t i = 0; i < all.shape()[axis]; i += step) places.push_back(i);
          all = take(all, places, static_cast<int>(axis));
        }
        check_close(y.value(), all.value());
        const Var g = tape.parameter(rng.normal(y.shape()));
        const Gradients found = backward(y, {}, g), expected = backward(all, {}, g);
        check_close(found[x], expected[x]);
        check_close(found[w], expected[w]);
        // The transposed convolution hands g to the images, as far as windows reach.
        const Var spread = conv_transpose2d(g, w, stride, padding);
        const Var part = slice(slice(x, 0, spread.shape()[2], 2), 0, spread.shape()[3], 3);
        CHECK(sum(spread * part).item() ==
              doctest::Approx(sum(g * conv2d(part, w, stride, padding)).item()));
      }
}

TEST_CASE("products of vectors are those of matrices with an axis of length 1") {
  Rng rng(4);
  Tape tape;
  const Var v = tape.parameter(rng.normal({4})), u = tape.parameter(rng.normal({4})),
            m = tape.parameter(rng.normal({3, 4})), s = tape.parameter(rng.normal({2, 4, 5}));
  const auto same = [](Var a, Var b) { check_close(a.value(), b.value()); };
  same(matmul(v, u), sum(v * u));
  same(matmul(m, v), sum(m * v, -1));
  same(matmul(v, transpose(m)), sum(m * v, -1));
  same(matmul(v, s), sum(s * reshape(v, {4, 1}), 1));
  same(matmul(transpose(s, {0, 2, 1}), v), sum(s * reshape(v, {4, 1}), 1));
  CHECK(matmul(v, tape.constant(zeros({4, 0}))).shape() == Shape{0});
  CHECK(matmul(tape.constant(zeros({0})), tape.constant(zeros({0}))).item() == 0);
  refuses([&] { matmul(m, tape.constant(zeros({3}))); },
          "matmul: a is (3, 4), b is (3,); need (..., n, k) and (..., k, m), or (k,) for either");
  refuses([&] { matmul(tape.constant(1.0), v); },
          "matmul: a is (), b is (4,); need (..., n, k) and (..., k, m), or (k,) for either");
}

TEST_CASE("parts, turned axes, sums and products of nothing, and what is refused") {
  Tape tape;
  const Var x = tape.parameter(counting({2, 5})), empty = tape.parameter(zeros({2, 0}));
  for (const std::vector<Var>& parts : {split(x, {2, 0, 3}, 1), split(x, 2, -1), split(x, 9, 1)})
    CHECK(concatenate(parts, 1).value() == x.value());
  CHECK(split(x, 2, 1).size() == 3);
  CHECK(split(x, 2, 1)[2].value() == tensor({2, 1}, {5, 10}));
  CHECK(split(x, {2, 3}, 1)[1].value() == Tensor{{3, 4, 5}, {8, 9, 10}});
  CHECK(split(empty, 3, 1).size() == 1);
  CHECK(split(empty, std::vector<std::size_t>{}, 1).empty());
  CHECK(flip(x, 1).value() == Tensor{{5, 4, 3, 2, 1}, {10, 9, 8, 7, 6}});
  CHECK(flip(flip(x, -1), 0).value()(0, 0) == 10);
  CHECK(flip(empty, 1).shape() == Shape{2, 0});
  CHECK(prod(empty, 1).value() == Tensor{1, 1});
  CHECK(prod(empty).item() == 1);
  CHECK(backward(prod(empty, -1))[empty].shape() == Shape{2, 0});
  CHECK(prod(x, {0, 1}, keep_axes).value() == full({1, 1}, 3628800));
  CHECK(cumsum(empty, 0).shape() == Shape{2, 0});
  CHECK(take_along_axis(empty, {}, 1).shape() == Shape{2, 0});
  CHECK(take_along_axis(empty, {}, 0).shape() == Shape{0, 0});
  CHECK(take_along_axis(x, {}, 1).shape() == Shape{2, 0});
  CHECK(take_along_axis(x, {1, 1, 0, 0, 1}, 0).value() == Tensor{{6, 7, 3, 4, 10}});
  CHECK(scatter_add(empty, {}, 3, 1).value() == zeros({2, 3}));

  refuses(
      [&] {
        split(x, {2, 2}, 1);
      },
      "split: lengths (2, 2) for axis 1 of (2, 5); need a sum of 5");
  refuses(
      [&] {
        split(x, {2, -2, 5}, 1);
      },
      "split: lengths (2, -2, 5) for axis 1 of (2, 5); need a sum of 5");
  refuses([&] { split(x, 0); }, "split: length is 0; need at least 1");
  refuses([&] { split(x, 1, 2); }, "split: axis 2 of (2, 5); need -2..1");
  refuses([&] { flip(x, -3); }, "flip: axis -3 of (2, 5); need -2..1");
  refuses([&] { prod(x, {1, 1}); }, "prod: axis 1 of (2, 5) is given twice; need each once");
  refuses([&] { cumsum(tape.constant(1.0)); },
          "cumsum: axis -1 of (); a single number has no axes");
  refuses(
      [&] {
        take_along_axis(x, {0, 1, 2});
      },
      "take_along_axis: 3 indices for axis 1 of (2, 5); need as many for each of 2 rows");
  refuses([&] { take_along_axis(empty, {0}, 0); },
          "take_along_axis: 1 indices for axis 0 of (2, 0); need as many for each of 0 rows");
  refuses(
      [&] {
        take_along_axis(x, {0, 5}, 1);
      },
      "take_along_axis: index 5 on axis 1 of (2, 5); need less than 5");
  refuses([&] { scatter_add(x, {0, 1}, 3); }, "scatter_add: 2 indices for (2, 5); need 10");
  refuses([&] { scatter_add(tape.constant(zeros({1})), {3}, 3); },
          "scatter_add: index 3 on axis 0 of (3,); need less than 3");
  const Var images = tape.constant(zeros({1, 2, 4, 4})), w = tape.constant(zeros({2, 2, 3, 3}));
  refuses([&] { conv2d(images, w, tape.constant(zeros({3}))); }, "conv2d: b is (3,); need (2,)");
  refuses(
      [&] {
        conv2d(images, w, {1, 0});
      },
      "conv2d: stride is 0; need a number of pixels, at least 1");
  refuses(
      [&] {
        conv_transpose2d(images, w, tape.constant(zeros({2, 1})));
      },
      "conv_transpose2d: b is (2, 1); need (2,)");
}

TEST_CASE("norm at 0 passes nothing back, at second order too, along either axis") {
  for (const int axis : {0, 1}) {
    Tape tape;
    const Var x = tape.parameter(zeros({2, 3})), g = differentiate(norm(x, axis), x)[0];
    CHECK(g.value() == zeros({2, 3}));
    CHECK(backward(g)[x] == zeros({2, 3}));
  }
}
