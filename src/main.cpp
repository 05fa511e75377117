#include "cli/cli.h"

int main(int argc, char** argv) { return bessemer::cli::run(argc, argv); }
