#include "models/about.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

const char* const kOne = "1 evaluation";
const char* const kPath = "1 evaluation, 1 backward pass";

const About kAbout[] = {
    {"zero", "0", "biased", kOne, ""},
    {"score-function", "f(D)\\,(D - p)", "unbiased", kOne, "Williams, 1992"},
    {"score-function+mean", "(f(D) - b)\\,(D - p),\\ b\\text{ a running mean}", "unbiased", kOne,
     "Williams, 1992"},
    {"score-function+leave-one-out",
     "\\tfrac1M \\sum_m \\bigl(f(D_m) - \\overline{f(D_{n \\ne m})}\\bigr)\\,(D_m - p)", "unbiased",
     "4 evaluations", "Kool, van Hoof, Welling, 2019"},
    {"straight-through", "J(\\operatorname{softmax}(\\ell/\\tau))\\,f' / \\tau", "biased", kPath,
     "Bengio, Leonard, Courville, 2013, arXiv 1308.3432"},
    {"straight-through-identity", "f'", "biased", kPath,
     "Bengio, Leonard, Courville, 2013, arXiv 1308.3432"},
    {"gumbel-softmax", "J(Y)\\,f'(Y) / \\tau,\\ Y = \\operatorname{softmax}((\\ell + g)/\\tau)",
     "biased", kPath, "Jang, Gu, Poole, 2017, arXiv 1611.01144"},
    {"st-gumbel-softmax", "J(Y)\\,f'(D) / \\tau,\\ Y = \\operatorname{softmax}((\\ell + g)/\\tau)",
     "biased", kPath, "Jang, Gu, Poole, 2017, arXiv 1611.01144"},
    {"reinmax",
     "\\bigl[2 J\\bigl(\\tfrac12 (\\operatorname{softmax}(\\ell/\\tau) + D)\\bigr) - \\tfrac12 "
     "J(p)\\bigr]\\,f'",
     "biased", kPath, "Liu, Dong, Liu, Yu, Gao, 2023, arXiv 2304.08612"},
    {"annealed-straight-through", "J(\\operatorname{softmax}(a \\ell))\\,a f',\\ a = 1/\\tau",
     "biased", kPath, "Chung, Ahn, Bengio, 2017, arXiv 1609.01704"},
    {"darn", "(D - p)(D - p)^\\top f'", "biased", kPath,
     "Gregor, Danihelka, Mnih, Blundell, Wierstra, 2014, arXiv 1310.8499"},
    {"zgr", "\\tfrac12 \\bigl[J(p) + (D - p)(D - p)^\\top\\bigr]\\,f'", "biased", kPath,
     "Shekhovtsov, 2023"},
    {"gapped-straight-through",
     "J(\\operatorname{softmax}(m/\\tau))\\,f' / \\tau,\\ m\\text{ such that }D\\text{ wins by a "
     "gap}",
     "biased", kPath, "Fan, Chi, Rudnicky, Ramadge, 2022, arXiv 2206.07235"},
    {"gumbel-rao",
     "\\mathbb{E}\\bigl[J(\\operatorname{softmax}((\\ell + g)/\\tau)) \\mid D\\bigr]\\,f' / \\tau",
     "biased", kPath, "Paulus, Maddison, Krause, 2021, arXiv 2010.04838"},
    {"mve",
     "\\tfrac12 \\bigl[(D - p)\\,f'_D + J(p)\\,x\\bigr],\\ x\\text{ solves }K\\text{ equations}",
     "biased", kPath, "after Hooper and Shekhovtsov, 2026"},
    {"straight-through-sinkhorn", "\\bigl(\\partial S(X/\\tau) / \\partial X\\bigr)^\\top f'",
     "biased", kPath, "Mena, Belanger, Linderman, Snoek, 2018, arXiv 1802.08665"},
    {"gumbel-sinkhorn",
     "\\bigl(\\partial S((X + G)/\\tau) / \\partial X\\bigr)^\\top f'\\text{ at }S", "biased",
     kPath, "Mena, Belanger, Linderman, Snoek, 2018, arXiv 1802.08665"},
    {"st-gumbel-sinkhorn",
     "\\bigl(\\partial S((X + G)/\\tau) / \\partial X\\bigr)^\\top f'\\text{ at }M", "biased",
     kPath, "Mena, Belanger, Linderman, Snoek, 2018, arXiv 1802.08665"},
    {"perturbed",
     "\\tfrac1{n \\tau} \\sum_j h(g_j)\\,\\langle \\operatorname{argmax}(\\ell + \\tau g_j) - D, "
     "f' "
     "\\rangle,\\ h(g) = 1 - e^{-g}",
     "biased", "1 evaluation, 1 backward pass, 10 solver calls",
     "Berthet, Blondel, Teboul, Cuturi, Vert, Bach, 2020, arXiv 2002.08676"},
    {"blackbox",
     "\\bigl(D - \\operatorname{argmax}(x - \\lambda f')\\bigr) / \\lambda,\\ x = \\ell + g",
     "biased", "1 evaluation, 1 backward pass, 1 solver call",
     "Vlastelica, Paulus, Musil, Martius, Rolinek, 2020, arXiv 1912.02175"},
    {"i-mle",
     "\\tfrac1n \\sum_j \\bigl(\\operatorname{argmax}(\\ell + g_j) - \\operatorname{argmax}(\\ell "
     "+ "
     "g_j - \\lambda f')\\bigr) / \\lambda",
     "biased", "1 evaluation, 1 backward pass, 1 solver call",
     "Niepert, Minervini, Franceschi, 2021, arXiv 2106.01798"},
    {"exact", "\\sum_k p_k\\,f(e_k)\\,(e_k - p)", "exact", "K evaluations", ""},
    {"muprop", "\\bigl(f(D) - f(p) - \\langle f'(p), D - p \\rangle\\bigr)(D - p) + J(p)\\,f'(p)",
     "unbiased", "2 evaluations, 1 backward pass",
     "Gu, Levine, Sutskever, Mnih, 2016, arXiv 1511.05176"},
    {"nvil", "(f(D) - b) / s\\;(D - p),\\ b, s\\text{ learned}", "unbiased, scaled", kOne,
     "Mnih, Gregor, 2014, arXiv 1402.0030"},
    {"vimco", "\\sum_m (L - L_m)\\,(D_m - p),\\ L = -\\log \\tfrac1M \\sum_m e^{-f(D_m)}",
     "unbiased, bound", "4 evaluations", "Mnih, Rezende, 2016, arXiv 1602.06725"},
    {"rebar",
     "(f(D) - c(z'))(D - p) + \\partial_\\ell c(z) - \\partial_\\ell c(z'),\\ c(z) = \\eta f("
     "\\operatorname{softmax}(z/\\tau)) + b",
     "unbiased", "3 evaluations, 2 backward passes",
     "Tucker, Mnih, Maddison, Lawson, Sohl-Dickstein, 2017, arXiv 1703.07370"},
    {"relax",
     "(f(D) - c(z'))(D - p) + \\partial_\\ell c(z) - \\partial_\\ell c(z'),\\ c\\text{ with a "
     "network}",
     "unbiased", "3 evaluations, 2 backward passes",
     "Grathwohl, Choi, Wu, Roeder, Duvenaud, 2018, arXiv 1711.00123"},
    {"sum-and-sample", "\\sum_{c \\in C} p_c f(c)(c - p) + (1 - p_C)\\,f(D)(D - p),\\ D \\notin C",
     "unbiased", "3 evaluations",
     "Liu, Regier, Tripuraneni, Jordan, McAuliffe, 2019, arXiv 1810.04777"},
    {"unordered-set",
     "\\sum_{s \\in S} p_s R_s \\bigl(f(s) - b_s\\bigr)(s - p),\\ S\\text{ drawn without "
     "replacement}",
     "unbiased", "3 evaluations", "Kool, van Hoof, Welling, 2020, arXiv 2002.06043"},
    {"arm", "(f(b) - f(b'))\\,(u - \\tfrac12),\\ b'\\text{ drawn with }1 - u", "unbiased",
     "2 evaluations", "Yin, Zhou, 2019, arXiv 1807.11143"},
    {"disarm", "\\tfrac12 (f(b) - f(b'))\\,(b - b')\\,\\sigma(|\\ell_1 - \\ell_0|)", "unbiased",
     "2 evaluations", "Dong, Mnih, Tucker, 2020, arXiv 2006.10680"},
};

}  // namespace

const About* about(const std::string& name) {
  for (const About& entry : kAbout)
    if (name == entry.name) return &entry;
  return nullptr;
}

ARGTAPE_END
