// The rules that look at where a softmax would have been had D won: Gumbel-Rao and Gapped
// straight-through.
#include <stdexcept>
#include <utility>

#include "engine/broadcast.hpp"
#include "ops/gumbel_posterior.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/temper.hpp"
#include "ops/softmax.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

Rule gumbel_rao(Temperature tau, std::size_t draws, std::uint64_t seed) {
  if (draws == 0) throw std::invalid_argument("gumbel_rao: draws are 0; need at least 1");
  return with(std::move(tau), "gumbel-rao", 0, [=](double t) {
    Rule rule;
    rule.needs_draw = true;
    rule.backward = [=](const Draw& draw, BackwardContext& ctx) {
      const Var g = ctx.gradient();
      const Var own = softmax_jacobian(softmax(over(draw.logits + draw.noise, t)), g);
      if (draws == 1) return over(own, t);
      Shape shape(draw.logits.shape().size() + 1);
      shape[0] = draws - 1;
      std::copy(draw.logits.shape().begin(), draw.logits.shape().end(), shape.begin() + 1);
      const Var fresh = draw.logits.tape->constant(rng_from(draw.noise.value(), seed).gumbel(shape),
                                                   "gumbel noise");
      const Var z = conditional_gumbels(draw.logits, draw.hard, fresh);
      const Var more = softmax_jacobian(softmax(over(z, t)), broadcast_to(g, shape));
      return (own + sum(more, {0})) / (static_cast<double>(draws) * t);
    };
    return rule;
  });
}

Rule gapped_straight_through(Temperature tau, double gap) {
  if (!(gap >= 0) || std::isinf(gap))
    throw std::invalid_argument("gapped_straight_through: gap is " + str(gap) +
                                "; need at least 0");
  return with(std::move(tau), "gapped-straight-through", 0, [=](double t) {
    Rule rule;
    rule.reads_noise = false;
    rule.backward = [=](const Draw& draw, BackwardContext& ctx) {
      const Var l = draw.logits, top = max(l, {-1}, true);
      const Var pushed = where(draw.hard, top, minimum(l, top - gap));
      return over(softmax_jacobian(softmax(over(pushed, t)), ctx.gradient()), t);
    };
    rule.shortcut = by_rows([tau = static_cast<Scalar>(t), gap = static_cast<Scalar>(gap)](
                                const NoisyRow& row, const Scalar* d, const Scalar* g, Scalar* p,
                                Scalar* to, bool add) {
      const Scalar top = row_max(row.x, row.n);
      const Lane high(top), below(top - gap), none(Scalar(0));
      map_lanes(
          row.n, p, false,
          [=](Lane x, Lane chosen) {
            return xsimd::select(chosen > none, high, xsimd::min(x, below));
          },
          row.x, d);
      softmax_row(p, row.n, p, tau);
      jacobian_row(p, g, row.n, 1 / tau, to, add);
    });
    return rule;
  });
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
