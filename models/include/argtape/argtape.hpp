// Everything: what a program includes, with the library installed or built in its folder.
#pragma once

#include "models/argtape.hpp"
