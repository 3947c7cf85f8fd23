/* Runs the linked sample model on several shapes and checks every number; then provokes errors. */
#include "sample.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                  \
  do {                                                                    \
    if (!(condition)) {                                                   \
      fprintf(stderr, "line %d: %s fails\n", __LINE__, #condition);       \
      return 1;                                                           \
    }                                                                     \
  } while (0)
#define OK(call)                                                          \
  do {                                                                    \
    if (call) {                                                           \
      fprintf(stderr, "line %d: %s: %s\n", __LINE__, error.code, error.message); \
      return 1;                                                           \
    }                                                                     \
  } while (0)

static const float weight[3] = {2.0f, -1.0f, 0.5f};

int main(int argc, char **argv) {
  size_t threads = argc > 1 ? (size_t)atoi(argv[1]) : 1;
  OdcError error;
  OdcArtifact *model;
  OdcSession *session;
  OdcTensor out;
  OK(odc_open_static(&odc_model_sample, &model, &error));
  OK(odc_verify_weights(model, &error));
  CHECK(odc_input_count(model) == ODC_SAMPLE_INPUT_COUNT);
  CHECK(odc_output_count(model) == ODC_SAMPLE_OUTPUT_COUNT);
  CHECK(strcmp(odc_input_name(model, 0), ODC_SAMPLE_INPUT_X_NAME) == 0);
  CHECK(strcmp(odc_input_type(model, 0), "f32[n, 3]") == 0);
  CHECK(odc_input_name(model, 1) == NULL);
  CHECK(odc_output_index(model, "sum") == ODC_SAMPLE_OUTPUT_SUM);
  CHECK(odc_output_index(model, "nope") == ODC_NONE);
  OK(odc_session_new(model, threads, &session, &error));
  odc_artifact_free(model); /* the session keeps what it needs */

  size_t sizes[] = {1, 100, 7, 5000};
  for (size_t k = 0; k < 4; k++) {
    size_t shape[2] = {sizes[k], ODC_SAMPLE_INPUT_X_DIM1};
    size_t count = shape[0] * shape[1];
    float *x = malloc(count * sizeof *x);
    CHECK(x);
    for (size_t i = 0; i < count; i++) x[i] = (float)(i % 13) - 6.0f;
    OdcTensor in = {ODC_SAMPLE_INPUT_X_DTYPE, ODC_SAMPLE_INPUT_X_RANK, shape, x, count * sizeof *x};
    OK(odc_set_input_by_name(session, "x", &in, &error));
    shape[0] = 0; /* the shape was copied */
    OK(odc_run(session, &error));
    OK(odc_get_output(session, ODC_SAMPLE_OUTPUT_SCALED, &out, &error));
    CHECK(out.rank == 2 && out.shape[0] == sizes[k] && out.shape[1] == 3 && out.dtype == ODC_F32);
    const float *scaled = out.data;
    for (size_t i = 0; i < count; i++) CHECK(scaled[i] == x[i] * weight[i % 3]);
    OK(odc_get_output_by_name(session, "sum", &out, &error));
    CHECK(out.bytes == sizes[k] * sizeof(float));
    const float *sum = out.data;
    for (size_t r = 0; r < sizes[k]; r++) CHECK(sum[r] == scaled[3 * r] + scaled[3 * r + 1] + scaled[3 * r + 2]);
    OK(odc_get_output(session, ODC_SAMPLE_OUTPUT_W, &out, &error));
    CHECK(out.bytes == ODC_SAMPLE_OUTPUT_W_BYTES && memcmp(out.data, weight, sizeof weight) == 0);
    free(x);
  }
  CHECK(odc_session_bytes(session) > 5000 * 12);

  size_t wrong[2] = {2, 4};
  float x[8] = {0};
  OdcTensor in = {ODC_F32, 2, wrong, x, sizeof x};
  OK(odc_set_input(session, 0, &in, &error));
  CHECK(odc_get_output(session, 0, &out, &error) == 1 && strcmp(error.code, "ODC0690") == 0);
  CHECK(odc_run(session, &error) == 1 && strcmp(error.code, "ODC0606") == 0);
  CHECK(strstr(error.message, "axis 1 is 4, not 3"));
  CHECK(odc_run(session, NULL) == 1);
  CHECK(odc_set_input(session, 1, &in, &error) == 1);
  CHECK(odc_set_input(NULL, 0, &in, &error) == 1 && odc_set_input(session, 0, NULL, &error) == 1);
  CHECK(odc_set_input_by_name(session, "y", &in, &error) == 1 && strstr(error.message, "only x"));
  CHECK(odc_open_memory(x, sizeof x, &model, &error) == 1 && strcmp(error.code, "ODC0650") == 0 && model == NULL);
  CHECK(odc_open_static(NULL, &model, &error) == 1);
  CHECK(odc_run(NULL, &error) == 1 && odc_input_count(NULL) == 0);
  odc_session_free(session);
  odc_session_free(NULL);
  puts("linked: ok");
  return 0;
}
