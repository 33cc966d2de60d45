# shellcheck shell=bash disable=SC2034
# Names and functions of install.sh and remove.sh, which source this file.

: "${PROJECT_ID:?is not set: export PROJECT_ID=the-id-of-your-project}"
REGION=${REGION:-europe-west1}
BUCKET=${BUCKET:-$PROJECT_ID-wheelyard}
# The role that allows the server to sign. Use another name if a deleted role still reserves this one.
SIGNER_ROLE_ID=${SIGNER_ROLE_ID:-wheelyardSigner}
export PROJECT_ID REGION BUCKET SIGNER_ROLE_ID
CREDENTIALS=$BUCKET-credentials
BUILDS=$BUCKET-builds
SERVER=wheelyard@$PROJECT_ID.iam.gserviceaccount.com
PUBLISHER=wheelyard-publisher@$PROJECT_ID.iam.gserviceaccount.com
BUILDER=wheelyard-builder@$PROJECT_ID.iam.gserviceaccount.com
# The label of buckets that install.sh has created.
MARK=made-by=wheelyard
# For every gcloud below: this project, and no prompts.
export CLOUDSDK_CORE_PROJECT=$PROJECT_ID CLOUDSDK_CORE_DISABLE_PROMPTS=1

say() { printf '\n== %s\n' "$*"; }

# has NAME COMMAND...: whether the list that COMMAND prints has NAME. A failing command ends the script, so that
# existing things are never taken for missing. The list of a service that was never enabled is empty.
has() {
  local name=$1 listed
  shift
  if ! listed=$("$@" 2>&1); then
    case $listed in
      *SERVICE_DISABLED* | *"not enabled on project"* | *"has not been used in project"*) return 1 ;;
    esac
    printf '%s\n' "$listed" >&2
    exit 1
  fi
  grep -Eq "(^|/)${name//./\\.}\$" <<< "$listed"   # some lists have paths
}
has_account() { has "$1" gcloud iam service-accounts list --format='value(email)'; }
has_bucket() { has "$1" gcloud storage buckets list --format='value(name)'; }
has_repository() { has wheelyard gcloud artifacts repositories list --location="$REGION" --format='value(name)'; }
has_role() { has "$SIGNER_ROLE_ID" gcloud iam roles list --project="$PROJECT_ID" --format='value(name)'; }
has_secret() { has "$1" gcloud secrets list --format='value(name)'; }
has_service() { has wheelyard gcloud run services list --region="$REGION" --format='value(metadata.name)'; }

# Whether install.sh has created an existing bucket.
is_made_here() {
  local found
  found=$(gcloud storage buckets describe "gs://$1" --format="value(labels.${MARK%=*})") || exit 1
  [ "$found" = "${MARK#*=}" ]
}
