// An op and a rule of your own, in one file outside the library, both checked.
#include <cmath>

#include <argtape/argtape.hpp>
#include "examples/common/program.hpp"

using namespace argtape;

// sin x: the value, and beneath it what goes back. Written in Vars, it can be differentiated again.
Var sine(Var x) {
  Tensor y = xt::sin(x.value());
  return x.tape->record("sine", {x}, y, [](BackwardContext& ctx) {
    const Var x = ctx.in(0), g = ctx.gradient();
    ctx.give(0, g * sine(x + std::acos(-1.0) / 2));  // sin' x = cos x = sin(x + pi/2)
  });
}

// A number-by-number op from its formula alone: all derivatives follow, in one pass over memory.
Var swish(Var x) {
  return elementwise(
      "swish", [](auto v) { return v * sigmoid(v); }, x);
}

// ZGR (Shekhovtsov, 2023): half straight-through, half (D - p)(D - p)^T f'. Exact for quadratic
// costs. The library has it too, as zgr().
Rule own_zgr() {
  return pathwise_rule("zgr", [](const Draw& draw, Var g) {
    const Var p = softmax(draw.logits), d = draw.hard() - p;
    return 0.5 * (softmax_jacobian(p, g) + d * sum(d * g, -1, keep_axes));
  });
}

int main(int argc, char** argv) {
  argtape_examples::Program program("04_your_own", "an op and a rule of your own, both checked");
  return program.run(argc, argv, [&] {
    set_threads(program.threads);
    Rng rng(program.seed);
    for (auto [name, f] : {std::pair{"sine", &sine}, std::pair{"swish", &swish}}) {
      CheckResult op = check_gradient([f = f](const std::vector<Var>& v) { return f(v[0]); },
                                      {rng.normal({2, 3})});
      program.figure(name + std::string(" error"), op.error);
      std::cout << name << ": " << (op ? "right, to second order" : op.report) << "\n";
    }

    Tensor logits{0.5, 1.0, -0.5}, target{0.25, 0.875, 0.375};
    Cost quadratic = [&](Var z) { return sum(square(z - z.tape->constant(target)), -1); };
    for (const Rule& rule : {straight_through(), own_zgr()}) {
      Measure m = measure(rule, quadratic, logits);
      program.figure(rule.name + " bias", {m.bias, m.bias_se});
      std::cout << rule.name << ": bias " << argtape_examples::with_error(m.bias, m.bias_se)
                << "\n";
    }
  });
}
