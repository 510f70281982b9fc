//! The operations of S3 that are done, each by a method of [`Bridge`]. `door` lets no other one through.

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

use super::Bridge;

/// One method of [`S3`] for each operation, its type, and the method that does it.
macro_rules! operations {
    ($($name:ident($input:ident) -> $output:ident by $does:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for Bridge {
            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                self.$does(request).await
            })*
        }
    };
}

operations! {
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput by abort;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput by complete;
    copy_object(CopyObjectInput) -> CopyObjectOutput by copy;
    create_bucket(CreateBucketInput) -> CreateBucketOutput by make_bucket;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput by begin;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput by remove_bucket;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput by untag_bucket;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput by remove;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput by untag;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput by remove_all;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput by location;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput by bucket_tags;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput by versioning;
    get_object(GetObjectInput) -> GetObjectOutput by get;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput by facts;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput by tags;
    head_bucket(HeadBucketInput) -> HeadBucketOutput by head_bucket;
    head_object(HeadObjectInput) -> HeadObjectOutput by head;
    list_buckets(ListBucketsInput) -> ListBucketsOutput by list_buckets;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput by list_uploads;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput by list_versions;
    list_objects(ListObjectsInput) -> ListObjectsOutput by list_v1;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output by list_v2;
    list_parts(ListPartsInput) -> ListPartsOutput by list_parts;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput by tag_bucket;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput by set_versioning;
    put_object(PutObjectInput) -> PutObjectOutput by put;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput by tag;
    upload_part(UploadPartInput) -> UploadPartOutput by put_part;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput by copy_part;
}
