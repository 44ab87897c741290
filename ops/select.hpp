// One of several branches, run alone: what a hard choice makes of a computation. Beside it the
// mixture, which runs them all.
#pragma once

#include <functional>
#include <vector>

#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

// Below, D is the choice, one-hot, with its 1 at k; o_k what branch k gives; g the gradient that
// arrives at the result y; f'_k the gradient for D_k, from which the choice's rule makes that for
// the logits; <,> a sum of products, over one example where each has a choice of its own.
//
//     Var op = sample(logits, st_gumbel_softmax(tau), rng);  // logits (3,)
//     Var y = select(op, x, {[](Var v) { return v; }, [&](Var v) { return conv2d(v, w, 1, 1); },
//                            [](Var v) { return avg_pool2d(v, 3, 1, 1); }});
//
// A rule of ops/rules/rule.hpp that keeps the choice hard is needed. With score_function() a branch
// is credited through the costs that followed, and `others` does not matter.

/// Functions, not Vars: a lambda each, since an op's own name stands for several overloads.
struct Branch : std::function<Var()> {
  using std::function<Var()>::function;
  template <class F, std::enable_if_t<!std::is_invocable_r_v<Var, F&>, int> = 0>
  Branch(F) = delete;  // a branch is a function, so that it need not run: [&] { return tanh(x); }
};
using BranchOf = std::function<Var(Var x)>;

/// How the entries of a choice that are 0 count in select(). The result is the same; the gradient
/// for the logits is not.
enum class Unchosen {
  /// y = D_k o_k: f'_k = <g, o_k>, and nothing for the others (X. Dong and Y. Yang, "Searching for
  /// a robust neural architecture in four GPU hours",
  /// CVPR 2019, arXiv 1910.04465, section 3.2: only the sampled operation is differentiated).
  nothing,
  /// y = D_k o_k + sum_{j != k} D_j: f'_j = sum(g) for the others, as if each gave 1. So it is in
  /// the authors' released code (AutoDL-Projects, GDAS, where `weights[_ie]` stands alone for each
  /// operation that is not run).
  as_scalars,
};

/// The output of the branch that a choice (K,), or (1, K) as slice() cuts it from several, chooses
/// for the whole batch. The others do not run: the tape holds nothing of them, and their shapes may
/// be other ones. Throws std::invalid_argument for a choice of another
/// shape, as many branches as there are not categories, and a choice that is not one-hot.
Var select(Var choice, const std::vector<Branch>& branches, Unchosen others = Unchosen::nothing);

/// The same with the branches' input x, and so also for each example by itself: with a choice (B,
/// K), x being (B, ...), each branch that somebody chose is called once, on the rows of x that
/// chose it, and must give as many rows, which are put back in order; it must not look at anything
/// else that has a row for each example. Nor may it choose by a rule that reads costs: those are
/// lined up with all examples, and its rows are some of them. Throws std::invalid_argument also for
/// branches whose rows differ in shape.
Var select(Var choice, Var x, const std::vector<BranchOf>& branches,
           Unchosen others = Unchosen::nothing);

/// sum_k w_k o_k over the outputs of all K branches, in one pass: weights (K,) or (1, K), or (B, K)
/// for outputs (B, ...), which are weighted example by example. With softmax weights the mixture of
/// DARTS (H. Liu, K. Simonyan, Y. Yang, arXiv 1806.09055, equation 2); with a hard choice the value
/// of select(), and f'_k = <g, o_k> for every k. A weight of 0 adds nothing, whatever its output.
/// Throws std::invalid_argument for other weights or some that are not finite, as many branches as
/// there are not weights, and outputs whose shapes differ.
Var mixture(Var weights, const std::vector<Branch>& branches);
Var mixture(Var weights, Var x, const std::vector<BranchOf>& branches);

ARGTAPE_END
