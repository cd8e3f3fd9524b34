/* Local users by the hundred thousand for `bench/scale.py`, as a directory with a cache answers for them: uid FIRST + n is
   "person-n". Loaded into a hub before the C library (LD_PRELOAD), which is asked for everybody else. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Far from anybody's subordinate uids. fill.rs and scale.py have it too. */
#define FIRST 1000000000u
#define LAST 1999999999u
#define PREFIX "person-"

static int person(uid_t uid, struct passwd *user, char *text, size_t size, struct passwd **found)
{
  *found = NULL;
  int length = snprintf(text, size, PREFIX "%u", uid - FIRST);
  if (length < 0 || (size_t)length >= size)
    return ERANGE;
  *user = (struct passwd){
    .pw_name = text, .pw_passwd = "x", .pw_uid = uid, .pw_gid = uid, .pw_gecos = "", .pw_dir = "/", .pw_shell = "/bin/sh"};
  *found = user;
  return 0;
}

int getpwuid_r(uid_t uid, struct passwd *user, char *text, size_t size, struct passwd **found)
{
  if (uid >= FIRST && uid <= LAST)
    return person(uid, user, text, size, found);
  int (*next)(uid_t, struct passwd *, char *, size_t, struct passwd **) = dlsym(RTLD_NEXT, "getpwuid_r");
  return next(uid, user, text, size, found);
}

int getpwnam_r(const char *name, struct passwd *user, char *text, size_t size, struct passwd **found)
{
  if (strncmp(name, PREFIX, strlen(PREFIX)) == 0)
    return person(FIRST + (uid_t)strtoul(name + strlen(PREFIX), NULL, 10), user, text, size, found);
  int (*next)(const char *, struct passwd *, char *, size_t, struct passwd **) = dlsym(RTLD_NEXT, "getpwnam_r");
  return next(name, user, text, size, found);
}
