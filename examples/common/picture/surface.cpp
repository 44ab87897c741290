// A surface over a rectangle, or over the triangle of three probabilities.
#include <algorithm>
#include <cmath>
#include <vector>

#include "examples/common/files.hpp"
#include "examples/common/picture/drawing.hpp"

namespace argtape_examples {

void write_surface(std::ostream& script, const Picture& picture) {
  const Series& one = picture.series[0];
  const auto n = static_cast<std::size_t>(std::lround(std::sqrt(one.x.size())));
  const auto place = [&](std::size_t k) { return exact(one.x[k]) + ',' + exact(one.y[k]) + ','; };
  double least = INFINITY;
  for (const double z : one.z)
    if (std::isfinite(z)) least = std::min(least, z);
  write_head(script, picture, plot_height);
  script << "zero = " << (least < INFINITY ? least : 0) << '\n';
  script
      << "set border 895 lc rgb '#909090'\nset format z '%g'\nset grid lc rgb '#dddddd'\nset "
         "xyplane 0\n"
      << "set xlabel " << gnuplot_string(picture.x.label) << "\nset ylabel "
      << gnuplot_string(picture.y.label) << "\nset zlabel " << gnuplot_string(picture.z.label)
      << " rotate by 90\nset view 58,22,1.1\nset pm3d depthorder lighting primary 0.5 specular 0\n"
      // Cividis: the same to colour-blind readers, and rising in grey.
      << "set palette defined (0 '#00224e', 1 '#575d6d', 2 '#a59c74', 3 '#fee838')\n";
  std::string base;
  if (!picture.categories.empty()) {
    script << "unset xtics\nunset ytics\nset border 16 lc rgb '#909090'\nset view equal xy\n"
              "set view ,,1.3,0.75\n$base << EOD\n";
    const std::size_t corners[] = {0, n - 1, n * n - 1};
    for (const std::size_t k : corners) script << place(k) << "0\n";
    script << place(0) << "0\nEOD\n";
    for (std::size_t i = 0; i < 3; ++i)
      script << "set label " << gnuplot_string(picture.categories[i]) << " at " << place(corners[i])
             << "graph 0 " << (i == 2 ? "left offset 1,0" : "center offset 0,-1") << " front\n";
    base = "$base using 1:2:(zero) with lines lc rgb '#606060', ";
  }
  script << "$data << EOD\n";
  for (std::size_t k = 0; k < one.x.size(); ++k)
    script << place(k) << one.z[k] << (k % n == n - 1 ? "\n\n" : "\n");
  const bool anything = least < INFINITY;
  script << "EOD\n"
         << (anything ? "set zrange [zero:*]\n"
                      : "set xrange [0:1]\nset yrange [0:1]\nset zrange [0:1]\n")
         << "splot " << base << (anything ? "$data with pm3d\n" : "NaN\n");
}

}  // namespace argtape_examples
