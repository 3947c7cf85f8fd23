/* Opens an artifact from a file and from memory, with all its code, and runs both. */
#include "odc.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static OdcError error;

static int run(OdcArtifact *model, size_t threads) {
  OdcSession *session;
  OdcTensor out;
  size_t shape[2] = {2, 3};
  float x[6] = {1, 2, 3, 4, 5, 6};
  OdcTensor in = {ODC_F32, 2, shape, x, sizeof x};
  if (odc_session_new(model, threads, &session, &error) || odc_set_input_by_name(session, "x", &in, &error) ||
      odc_run(session, &error) || odc_get_output_by_name(session, "sum", &out, &error)) {
    fprintf(stderr, "%s: %s\n", error.code, error.message);
    return 1;
  }
  const float *sum = out.data;
  int wrong = out.rank != 1 || out.shape[0] != 2 || sum[0] != 1.5f || sum[1] != 6.0f;
  odc_session_free(session);
  return wrong;
}

int main(int argc, char **argv) {
  OdcArtifact *model;
  if (argc != 2 || odc_open_file(argv[1], &model, &error)) {
    fprintf(stderr, "%s: %s\n", error.code, error.message);
    return 1;
  }
  if (run(model, 1) || run(model, 3)) return 2;
  odc_artifact_free(model);

  FILE *file = fopen(argv[1], "rb");
  static char bytes[1 << 16];
  size_t len = file ? fread(bytes, 1, sizeof bytes, file) : 0;
  if (odc_open_memory(bytes, len, &model, &error)) {
    fprintf(stderr, "%s: %s\n", error.code, error.message);
    return 3;
  }
  if (run(model, 2)) return 4;
  odc_artifact_free(model);

  bytes[len / 2] ^= 1;
  if (odc_open_memory(bytes, len, &model, &error) != 1 || strcmp(error.code, "ODC0654") != 0) return 5;
  if (odc_open_file("no such file", &model, &error) != 1 || strcmp(error.code, "ODC0640") != 0) return 6;
  puts("file: ok");
  return 0;
}
