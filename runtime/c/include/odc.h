/* odc.h: run models that odc compiled. Link with libodc_c.a (and -lpthread -ldl -lm where the system wants them).
 *
 *   OdcError error;
 *   OdcArtifact *artifact; OdcSession *session; OdcTensor y;
 *   size_t shape[2] = {1, 3}; float x[3] = {1, 2, 3};
 *   OdcTensor in = {ODC_F32, 2, shape, x, sizeof x};
 *   if (odc_open_file("model.odc", &artifact, &error) || odc_session_new(artifact, 1, &session, &error) ||
 *       odc_set_input_by_name(session, "x", &in, &error) || odc_run(session, &error) ||
 *       odc_get_output_by_name(session, "y", &y, &error))
 *     fprintf(stderr, "%s: %s\n", error.code, error.message);
 *
 * Functions that return int return 0 when they succeed and 1 when they fail; then *error says why, unless `error` is
 * NULL. Null pointers elsewhere are errors, not crashes. An artifact may be used by several threads at once, a session
 * by one at a time. An artifact holds machine code: open only what you would also execute.
 */
#ifndef ODC_H
#define ODC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct OdcArtifact OdcArtifact;
typedef struct OdcSession OdcSession;

typedef struct OdcError {
  char code[8];       /* "ODC0604": stable, for programs */
  char message[1016]; /* for people; cut off when it is longer */
} OdcError;

typedef uint32_t OdcDType;
enum {
  ODC_F32 = 0,
  ODC_F64 = 1,
  ODC_F16 = 2,
  ODC_BF16 = 3,
  ODC_I8 = 4,
  ODC_I16 = 5,
  ODC_I32 = 6,
  ODC_I64 = 7,
  ODC_U8 = 8,
  ODC_U16 = 9,
  ODC_U32 = 10,
  ODC_U64 = 11,
  ODC_BOOL = 12, /* one byte an element, 0 or 1 */
  /* One byte an element too: a float's code in the low bits, an integer extended. */
  ODC_F8E4M3FN = 13,
  ODC_F8E4M3FNUZ = 14,
  ODC_F8E5M2 = 15,
  ODC_F8E5M2FNUZ = 16,
  ODC_F8E8M0 = 17,
  ODC_F6E2M3 = 18,
  ODC_F6E3M2 = 19,
  ODC_F4E2M1 = 20,
  ODC_I4 = 21,
  ODC_U4 = 22,
  ODC_I2 = 23,
  ODC_U2 = 24,
  ODC_STR = 25 /* strings: an int32_t an element, see OdcStrings */
};

/* Row-major and dense. */
typedef struct OdcTensor {
  OdcDType dtype;
  size_t rank;
  const size_t *shape;
  const void *data; /* aligned to the size of an element */
  size_t bytes;
} OdcTensor;

/* What the object files of `odc compile -o m.o` define; m.h declares it. */
typedef void (*OdcKernel)(void);
typedef struct OdcStaticModel {
  const void *artifact;
  size_t artifact_len;
  const OdcKernel *kernels;
  size_t kernel_count;
} OdcStaticModel;

/* Opening. Every byte but the weights is checked, so that a damaged file is an error. */

/* Maps the file, which must not change while it is open. Not in builds without std. */
int odc_open_file(const char *path, OdcArtifact **out, OdcError *error);
/* The memory must stay as it is until the artifact and its sessions are freed. It is used in place when it starts on
 * a 64-byte boundary, and copied otherwise. */
int odc_open_memory(const void *bytes, size_t len, OdcArtifact **out, OdcError *error);
/* A model that is linked into the program: nothing is loaded, and no memory is made executable. */
int odc_open_static(const OdcStaticModel *model, OdcArtifact **out, OdcError *error);
/* Compares the weights with their checksum; reads all of them. */
int odc_verify_weights(const OdcArtifact *artifact, OdcError *error);
/* Sessions keep what they need: the order of freeing does not matter. NULL is allowed. */
void odc_artifact_free(OdcArtifact *artifact);

/* What a model wants and gives. Out of range: NULL, 0, or ODC_NONE. */

#define ODC_NONE ((size_t)-1)
size_t odc_input_count(const OdcArtifact *artifact);
size_t odc_output_count(const OdcArtifact *artifact);
const char *odc_input_name(const OdcArtifact *artifact, size_t index);
const char *odc_output_name(const OdcArtifact *artifact, size_t index);
/* Type and shape for people, in which dims have names: "f32[batch, 3, 224, 224]" */
const char *odc_input_type(const OdcArtifact *artifact, size_t index);
const char *odc_output_type(const OdcArtifact *artifact, size_t index);
size_t odc_input_index(const OdcArtifact *artifact, const char *name);
size_t odc_output_index(const OdcArtifact *artifact, const char *name);

/* Running. A session holds one arena, which grows to the largest shape that it has seen; running a shape that it
 * knows allocates nothing. */

/* threads: those that compute, the caller's included; 0: as many as there are cores. */
int odc_session_new(const OdcArtifact *artifact, size_t threads, OdcSession **out, OdcError *error);
/* Copies the shape, but not the data: they are read by every run until the input is set again, and must live as long
 * as the outputs are read. Type and shape are checked by odc_run. */
int odc_set_input(OdcSession *session, size_t index, const OdcTensor *tensor, OdcError *error);
int odc_set_input_by_name(OdcSession *session, const char *name, const OdcTensor *tensor, OdcError *error);
int odc_run(OdcSession *session, OdcError *error);
/* Fills *out with pointers into the session, good until the next odc_run, odc_set_input or odc_session_free. */
int odc_get_output(const OdcSession *session, size_t index, OdcTensor *out, OdcError *error);
int odc_get_output_by_name(const OdcSession *session, const char *name, OdcTensor *out, OdcError *error);
/* Bytes that the session has allocated for arena and scratch. */
size_t odc_session_bytes(const OdcSession *session);
void odc_session_free(OdcSession *session);

/* Strings. A model computes with numbers that stand for strings; equal strings have equal numbers. Those that the model
 * knows have theirs, others get new ones, which are remembered until odc_strings_clear. One OdcStrings serves any number
 * of sessions of an artifact, and is used by one thread at a time. */

typedef struct OdcStrings OdcStrings;
int odc_strings_new(const OdcArtifact *artifact, OdcStrings **out, OdcError *error);
/* The number of a string of `len` bytes in UTF-8, for inputs of type ODC_STR. */
int odc_string_number(OdcStrings *strings, const char *text, size_t len, int32_t *out, OdcError *error);
/* The string of an output's number, *len bytes that no zero ends, good until odc_strings_clear or odc_strings_free; NULL
 * for a number that stands for none. */
const char *odc_string_text(const OdcStrings *strings, int32_t number, size_t *len);
/* Forgets the strings that the model does not know. */
void odc_strings_clear(OdcStrings *strings);
void odc_strings_free(OdcStrings *strings);

#ifdef __cplusplus
}
#endif
#endif
