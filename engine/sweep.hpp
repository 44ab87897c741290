// The reverse sweep: from the costs back to the parameters. It carries to each node the gradient of
// the costs and the set of costs that the node feeds. Broadcasting is undone, contributions are
// added and gradient shapes are checked here, once for all ops.
#pragma once

#include <functional>
#include <stdexcept>
#include <vector>

#include "backward_context.hpp"
#include "gradients.hpp"
#include "tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// A pathwise choice feeds a cost to which no differentiable path leads.
class NoPath : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// The gradient of the sum of all costs for every parameter of their tape, and for `also`. Costs
/// are best left one number an example, of shape (B,): averaging first credits each choice with
/// everybody's cost. `weights`, one for each cost and of its shape, make it the gradient of
/// sum(weight * cost) instead. Throws std::invalid_argument for costs on two
/// tapes, and NoPath, which is one, for a pathwise choice with no differentiable path to a cost.
/// The tape is left as it was; it may be swept again. So it is if anything throws, a backward of
/// the user's too: nothing is counted then, and no rule has learned, unless it is a
/// learning of the user's that throws.
Gradients backward(Inputs costs, Inputs also = {}, Inputs weights = {});

/// The same for a tape's last sweep, in the least memory: take(parameter, gradient) is called for
/// each parameter that a gradient arrives at, as soon as it is complete, and may change the
/// parameter itself, which nobody will read again; what the sweep has passed is given back, values
/// included, but for those of the costs and the parameters. After it, other values may not be read
/// (std::logic_error), nor the tape be swept. Throws std::logic_error inside a backward.
/// If it throws, or `take` does, some parameters have been handed over and others not.
using TakeGradient = std::function<void(Var parameter, Tensor& gradient)>;
void backward_and_release(Inputs costs, const TakeGradient& take);

/// backward() without leaving a trace: nothing is counted, and no baseline learns.
Gradients dry_run(Inputs costs, Inputs also = {});

/// The same for `wrt`, recorded on the tape, so that the gradients can be differentiated again, to
/// any order. Draws and rules count as they stand: the gradient of an estimate is the derivative of
/// that estimate, not of its expectation. No rule learns from it: what is made of the gradient is
/// swept later, and would be judged by a baseline that knows its costs. If it throws, the tape is
/// left as it was.
std::vector<Var> differentiate(Inputs costs, Inputs wrt, Inputs weights = {});

ARGTAPE_END
