/* The smallest program that runs a model: its stripped size is what odc's runtime costs. */
#include "odc.h"

extern const OdcStaticModel odc_model_sample;

int main(void) {
  OdcArtifact *model;
  OdcSession *session;
  OdcTensor out;
  size_t shape[2] = {1, 3};
  float x[3] = {1, 2, 3};
  OdcTensor in = {ODC_F32, 2, shape, x, sizeof x};
  if (odc_open_static(&odc_model_sample, &model, 0) || odc_session_new(model, 1, &session, 0) ||
      odc_set_input(session, 0, &in, 0) || odc_run(session, 0) || odc_get_output(session, 1, &out, 0))
    return 1;
  return ((const float *)out.data)[0] == 1.5f ? 0 : 2;
}
